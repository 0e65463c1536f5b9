/**
 * The generate loop: token ids in, token events out. It knows neither text nor HTTP; the tokenizer, the wire and the
 * choice of the exit are its caller's.
 */
import type { GenerationRequest, Timings, TokenEvent, Usage } from "../generation.ts";
import type { Engine } from "./engine.ts";
import type { Sequence } from "./sequence.ts";

/** How sure a distribution is: softmax at temperature 1, without penalties. */
export interface Confidence {
  /** Probability of the most probable id. */
  readonly top1: number;
  /** top1 minus the second probability. */
  readonly margin: number;
  /** Nats. */
  readonly entropy: number;
}

/** What the prefill produced anyway: the input of gate 2. */
export interface PrefillFeatures {
  /** `[d]`, residual stream at the exit of the last prompt token; a copy. */
  readonly hiddenLast: Float32Array;
  /** `[d]`, mean over the prompt's positions that hold a hidden state. */
  readonly hiddenMean: Float32Array;
  readonly firstToken: Confidence;
}

/** The input of gate 3: the token just emitted. */
export interface TokenFeatures extends Confidence {
  readonly id: number;
  /** Tokens emitted by this generation so far, this one included. */
  readonly emitted: number;
}

export type Verdict = "continue" | "handoff";

export interface GenerateOptions {
  /** Milliseconds; default `performance.now`. It stands still during computation in production Workers. */
  readonly clock?: () => number;
  /** Lets I/O happen between two tokens: streams flush, aborts are seen. Default: one turn of the event loop. */
  readonly yieldToEventLoop?: () => Promise<void>;
  /** Asked once, after the prompt is read and before a token is emitted. */
  readonly afterPrefill?: (features: PrefillFeatures) => Verdict;
  /** Asked after each emitted token that is not the answer's last. */
  readonly afterToken?: (features: TokenFeatures) => Verdict;
}

/** How a generation ended. After `handoff` no `end` event was yielded: `sequence.export(exit)` is the state to send. */
export interface GenerationOutcome {
  readonly type: "end" | "handoff";
  readonly usage: Usage;
  readonly timings: Timings;
}

/**
 * Generates one answer at `request.exit_layer`.
 *
 * `sequence` holds a prefix of `request.token_ids`; the rest is appended and read. It is new (empty), imported from a
 * handoff (its states are continued as they are), or warm: a caller that kept it from an earlier turn calls
 * `sequence.retarget(request.token_ids)` first. `usage.prompt_tokens` leaves `answer_tokens` out; `cached_tokens` is the
 * number of prompt positions whose state at the first exit was there already (T of a handoff, if the prompt is not shorter).
 *
 * Leaving the loop early (`return`, `throw`, abort) stops the compute within one token; the sequence stays usable.
 * With `yield*` the caller gets the outcome as the value of the expression.
 *
 * @param signal its reason is thrown.
 * @throws EngineError `unknown_exit`, `context_length` (the prompt leaves no room for a token), `token_id`, `sequence`
 *   (the sequence holds other tokens).
 */
export async function* generate(
  engine: Engine,
  sequence: Sequence,
  request: GenerationRequest,
  signal: AbortSignal,
  options: GenerateOptions = {},
): AsyncGenerator<TokenEvent, GenerationOutcome> {
  signal.throwIfAborted();
  await engine.advance(sequence, request.exit_layer, sequence.length, signal);
  yield* [];
  throw new Error(`not written yet: ${Object.keys(options).length}`);
}
