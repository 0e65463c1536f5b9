/**
 * What a route asks of the flow, and what the flow answers: text, not tokens.
 * A leaf: it imports only `generation.ts`.
 */
import type { Sampling, Timings, Usage } from "./generation.ts";

export interface Message {
  readonly role: "system" | "user" | "assistant";
  readonly content: string;
}

/** One accepted request, independent of the wire it came by. */
export interface ChatRequest {
  readonly requestId: string;
  /** As sent: `<name>`, `<name>:auto`, `<name>:exit-<k>`. */
  readonly model: string;
  readonly messages: readonly Message[];
  /** null: whatever fits the context. */
  readonly maxTokens: number | null;
  readonly sampling: Sampling;
  /** Text that ends the answer; never emitted. At most 4. */
  readonly stop: readonly string[];
  /** null: no log-probabilities asked. */
  readonly topLogprobs: number | null;
}

/** Which exit answers, where, and why. */
export interface Route {
  readonly exit: number;
  readonly tier: "edge" | "origin";
  /** Machine-readable, e.g. `gate=prompt; score=0.97; reason=easy`. Becomes `x-sortie-route`. */
  readonly reason: string;
}

/** One token as text. `bytes` is exact; `text` may be empty while a character is incomplete. */
export interface TextToken {
  readonly text: string;
  readonly bytes: readonly number[];
  readonly logprob: number;
  readonly exit: number;
  readonly top: readonly { readonly text: string; readonly bytes: readonly number[]; readonly logprob: number }[];
}

/** Text as it becomes final, then exactly one `end`. Failures are thrown. */
export type TextEvent =
  | { readonly type: "text"; readonly text: string; readonly tokens: readonly TextToken[] }
  | {
      readonly type: "end";
      readonly finishReason: "stop" | "length";
      readonly usage: Usage;
      /** null when a stop sequence ended the answer before its tier could say. */
      readonly timings: Timings | null;
      /** The exit and tier that spoke last. */
      readonly route: Route;
      /** What the answer costs, in micro-dollars. */
      readonly cost: number;
    };

/** An answer whose first decision is made. Not reading `events` to the end, or returning early, stops the compute. */
export interface ChatAnswer {
  /** Canonical model name, e.g. `tiny`. */
  readonly model: string;
  readonly route: Route;
  readonly promptTokens: number;
  /** Rate limits as they stand, for the response. */
  readonly headers: Readonly<Record<string, string>>;
  readonly events: AsyncIterable<TextEvent>;
}
