/**
 * The generate loop: token ids in, token events out. It knows neither text nor HTTP; the tokenizer, the wire and the
 * choice of the exit are its caller's.
 */
import type { GenerationRequest, Timings, TokenEvent, Usage } from "../generation.ts";
import type { Engine } from "./engine.ts";
import { EngineError } from "./errors.ts";
import { beginTurn } from "./event-loop.ts";
import { release } from "./release.ts";
import { type Confidence, confidenceOf, logSumExp, sample, topLogprobs } from "./sampler.ts";
import type { Sequence } from "./sequence.ts";

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
  /** Begins a turn of the event loop; awaited after the step it was begun before. Default `beginTurn`. */
  readonly beginTurn?: () => Promise<void>;
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
 * Generates one answer at `request.exit_layer`, or with `request.decoding` each token at the first exit that is sure enough.
 *
 * `sequence` holds a prefix of `request.token_ids`; the rest is appended and read. It is new (empty), imported from a
 * handoff, or warm: a cache has filled it, or a caller has rewound it to what it shares with the request. States are continued
 * as they are. `usage.prompt_tokens` leaves `answer_tokens` out; `cached_tokens` is the number of prompt positions of which every
 * layer up to the exit was there already.
 *
 * Leaving the loop early (`return`, `throw`, abort) stops the compute within one token; the sequence stays usable.
 * With `yield*` the caller gets the outcome as the value of the expression. `timings.queue_ms` is 0: waiting for a
 * place is its caller's.
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
  const clock = options.clock ?? (() => performance.now());
  const turn = options.beginTurn ?? beginTurn;
  const { token_ids: ids, answer_tokens, max_tokens } = request;
  const promptTokens = ids.length - answer_tokens;
  const started = clock();
  takeTokens(engine, sequence, ids);
  const cached = Math.min(heldPositions(engine, sequence, request.exit_layer), promptTokens);
  const seen = { all: new Set(ids), answer: counts(ids.slice(promptTokens)) };

  signal.throwIfAborted();
  let next = await nextStep(engine, sequence, request, signal);
  const prefilled = clock();
  let emitted = 0;
  const byExit: Record<string, number> = {};
  const outcome = (type: GenerationOutcome["type"]): GenerationOutcome => ({
    type,
    usage: {
      prompt_tokens: promptTokens,
      cached_tokens: cached,
      completion_tokens_by_exit: { ...byExit },
    },
    timings: { queue_ms: 0, prefill_ms: elapsed(started, prefilled), decode_ms: elapsed(prefilled, clock()) },
  });
  const end = (finish_reason: "stop" | "length"): [TokenEvent, GenerationOutcome] => {
    const { type, usage, timings } = outcome("end");
    return [
      { type: "end", finish_reason, usage, timings },
      { type, usage, timings },
    ];
  };

  if (options.afterPrefill?.(prefillFeatures(engine, sequence, next)) === "handoff") return outcome("handoff");
  for (;;) {
    const { logits, exit } = next;
    const normaliser = logSumExp(logits);
    const id = sample(logits, request.sampling, seen, sequence.length);
    if (request.stop_token_ids.includes(id)) {
      const [event, result] = end("stop");
      yield event;
      return result;
    }
    emitted++;
    byExit[exit] = (byExit[exit] ?? 0) + 1;
    sequence.append([id]);
    seen.all.add(id);
    seen.answer.set(id, (seen.answer.get(id) ?? 0) + 1);
    yield {
      type: "token",
      id,
      logprob: (logits[id] ?? 0) - normaliser,
      exit,
      ...(emitted === 1 && { cached_tokens: cached }),
      ...(request.top_logprobs > 0 && { top_logprobs: topLogprobs(logits, normaliser, request.top_logprobs) }),
    };
    if (emitted === max_tokens || sequence.length === engine.bundle.shape.context_length) {
      const [event, result] = end("length");
      yield event;
      return result;
    }
    const sureness = options.afterToken && { id, emitted, ...confidenceOf(logits, normaliser) };
    if (sureness && options.afterToken?.(sureness) === "handoff") return outcome("handoff");
    release(logits);
    signal.throwIfAborted();
    const turned = turn();
    next = await nextStep(engine, sequence, request, signal);
    await turned;
    signal.throwIfAborted();
  }
}

/** Leading positions of which every layer was there before this generation. */
function heldPositions(engine: Engine, sequence: Sequence, exit: number): number {
  const computed = engine.exits.flatMap((last, segment) => (last <= exit ? [sequence.computed(segment)] : []));
  return Math.min(...computed);
}

/** Makes `sequence` hold `ids`, of which it holds a prefix. */
function takeTokens(engine: Engine, sequence: Sequence, ids: readonly number[]): void {
  const { context_length } = engine.bundle.shape;
  if (ids.length >= context_length) {
    throw new EngineError("context_length", `${ids.length} tokens leave no room in a context of ${context_length}`);
  }
  const held = sequence.length;
  for (let at = 0; at < held; at++) {
    if (sequence.tokenAt(at) !== ids[at]) throw new EngineError("sequence", `the sequence differs at token ${at}`);
  }
  sequence.append(ids.slice(held));
}

/** What the next token is sampled from, and the exit that made it. */
interface Step {
  readonly exit: number;
  /** `[V]` */
  readonly logits: Float32Array;
}

/**
 * One token at the request's exit; or, with early exit, at the first whose confidence is strictly above its threshold (1:
 * none). What a shallow exit leaves out is filled in when a later token goes deeper.
 */
async function nextStep(
  engine: Engine,
  sequence: Sequence,
  request: GenerationRequest,
  signal: AbortSignal,
): Promise<Step> {
  const { exit_layer: deepest, decoding } = request;
  for (const exit of engine.exits) {
    const threshold = exit < deepest ? decoding?.thresholds[String(exit)] : undefined;
    if (threshold === undefined) continue;
    const logits = await engine.next(sequence, exit, signal);
    if (confidenceOf(logits, logSumExp(logits)).top1 > threshold) return { exit, logits };
    release(logits);
  }
  return { exit: deepest, logits: await engine.next(sequence, deepest, signal) };
}

function prefillFeatures(engine: Engine, sequence: Sequence, { exit, logits }: Step): PrefillFeatures {
  const segment = engine.exits.indexOf(exit);
  const width = engine.bundle.shape.hidden_size;
  const hidden = sequence.hidden(segment, sequence.hiddenFrom(segment), sequence.length); // [T, d]
  const mean = new Float32Array(width);
  const rows = hidden.length / width;
  for (let at = 0; at < hidden.length; at++) mean[at % width] = (mean[at % width] ?? 0) + (hidden[at] ?? 0) / rows;
  return {
    hiddenLast: hidden.slice(-width),
    hiddenMean: mean,
    firstToken: confidenceOf(logits, logSumExp(logits)),
  };
}

function counts(ids: readonly number[]): Map<number, number> {
  const map = new Map<number, number>();
  for (const id of ids) map.set(id, (map.get(id) ?? 0) + 1);
  return map;
}

/** Clocks that are set back must not give a negative duration. */
function elapsed(from: number, to: number): number {
  return Math.max(0, to - from);
}
