/** What every route sees: bindings, the request's own values, and the flow it may call. */
import type { chat } from "../chat.ts";
import type { chatDeps } from "../chat-deps.ts";
import type { Env } from "../env.ts";
import type { Caller } from "../tenant/api.ts";
import type { createTenants } from "../tenant/client.ts";
import type { Turns } from "../turns.ts";

/** The flow of src/chat.ts. Passed in, so that routes can be tested without a model. */
export interface Flow {
  readonly chat: typeof chat;
  readonly chatDeps: typeof chatDeps;
  readonly tenants: typeof createTenants;
  /** In which requests are read. */
  readonly turns: Turns;
}

export interface AppEnv {
  Bindings: Env;
  Variables: {
    requestId: string;
    /** Milliseconds since 1970 when the request came. */
    startedAt: number;
    /** Whose key it has; set on every path under /v1. */
    caller: Caller;
    /** What the request was admitted as; set on the paths that compute. */
    admissionId: string;
  };
}
