/**
 * What a route asks of the flow, and what the flow answers: text, not tokens.
 * A leaf: it imports only leaves.
 */
import type { Sampling, Timings, Usage } from "./generation.ts";
import type { MicroUsd } from "./money.ts";
import type { Narrowing } from "./narrowing.ts";

export interface Message {
  readonly role: "system" | "user" | "assistant";
  readonly content: string;
}

/** What is to be continued: a conversation, plain text, or token ids as they are. */
export type Prompt =
  | { readonly kind: "messages"; readonly messages: readonly Message[] }
  | { readonly kind: "text"; readonly text: string }
  | { readonly kind: "tokens"; readonly ids: readonly number[] };

/** One accepted request, independent of the wire it came by. */
export interface ChatRequest {
  readonly requestId: string;
  /** As sent: `<name>`, `<name>:auto`, `<name>:auto@<quality>`, `<name>:exit-<k>`. */
  readonly model: string;
  /** At least one. */
  readonly prompts: readonly Prompt[];
  /** Answers to each prompt, at least 1. An answer's index counts prompt by prompt: `prompt * choices + choice`. */
  readonly choices: number;
  /** null: whatever fits the context. */
  readonly maxTokens: number | null;
  readonly sampling: Sampling;
  /** Text that ends the answer; never emitted. At most 4. */
  readonly stop: readonly string[];
  /** null: no log-probabilities asked. */
  readonly topLogprobs: number | null;
  /** How the request itself narrows the exit choice. */
  readonly narrowing: Narrowing;
  /** The answer is delivered whole or not at all, and one that breaks off is not charged. Absent: piece by piece. */
  readonly whole?: boolean;
  /** Of whole answers, where the request is deterministic. Absent: neither. */
  readonly caching?: { readonly read: boolean; readonly store: boolean };
  /** How sure an exit of the origin must be of a token to make it; null: every token at the exit that was chosen. */
  readonly earlyExit: number | null;
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

/** Text as it becomes final. Tokens of a text that is emitted in parts come with its first part. */
export interface TextPiece {
  readonly type: "text";
  readonly text: string;
  readonly tokens: readonly TextToken[];
}

/** How one choice ended. */
export interface ChoiceEnd {
  readonly type: "end";
  readonly finishReason: "stop" | "length";
  readonly usage: Usage;
  /** null when a stop sequence ended the choice before its tier could say. */
  readonly timings: Timings | null;
  /** The exit and tier that spoke last. */
  readonly route: Route;
}

/** One choice: pieces, then exactly one `end`. Failures are thrown. */
export type ChoiceEvent = TextPiece | ChoiceEnd;

/** The last event of an answer. */
export interface AnswerEnd {
  readonly type: "end";
  /** One a choice, by index. */
  readonly finishReasons: readonly ChoiceEnd["finishReason"][];
  /** Of all choices together; each prompt counts once. */
  readonly usage: Usage;
  /** Summed over the choices; null when one has none. */
  readonly timings: Timings | null;
  /** The first choice's. */
  readonly route: Route;
  /** Of the whole answer. */
  readonly charge: Charge;
}

/** What an answer's tokens cost. */
export interface Charge {
  /** What its tenant was charged. */
  readonly cost: MicroUsd;
  /** What the deepest exit would have charged for the same tokens. */
  readonly fullDepthCost: MicroUsd;
}

/** A whole answer: the choices' pieces and ends in the order they come, then exactly one `end`. Failures are thrown. */
export type TextEvent =
  | (TextPiece & { readonly index: number })
  | (Omit<ChoiceEnd, "type"> & { readonly type: "finish"; readonly index: number })
  | AnswerEnd;

/** An answer whose first decision is made. Not reading `events` to the end, or returning early, stops the compute. */
export interface ChatAnswer {
  /** Canonical model name, e.g. `tiny`. */
  readonly model: string;
  /** The first choice's. */
  readonly route: Route;
  /** Of all prompts together. */
  readonly promptTokens: number;
  /** Whether another request's answer is told; absent: none was looked for. */
  readonly cache?: "hit" | "miss";
  /** Rate limits as they stand, for the response. */
  readonly headers: Readonly<Record<string, string>>;
  /** Of what was produced so far; in the end what was charged. */
  readonly charge: () => Charge;
  readonly events: AsyncIterable<TextEvent>;
}
