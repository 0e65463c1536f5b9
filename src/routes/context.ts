/** What every route sees: bindings, the request's own values, and the flow it may call. */
import type { chat, chatDeps } from "../chat.ts";
import type { Env } from "../env.ts";

/** The flow of src/chat.ts. Passed in, so that routes can be tested without a model. */
export interface Flow {
  readonly chat: typeof chat;
  readonly chatDeps: typeof chatDeps;
}

export interface AppEnv {
  Bindings: Env;
  Variables: {
    requestId: string;
    /** Milliseconds since 1970 when the request came. */
    startedAt: number;
  };
}
