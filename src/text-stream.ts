/** One choice's token events to its text: detokenising and stop sequences, the same for both tiers. */
import type { ChoiceEvent, Route, TextToken } from "./conversation.ts";
import type { TokenEvent, Usage } from "./generation.ts";
import { closing } from "./iteration.ts";
import type { Detokenizer } from "./model/detokenizer.ts";

type TokenWithExit = Extract<TokenEvent, { type: "token" }>;

export interface TextStreamOptions {
  readonly detokenizer: Detokenizer;
  /** One token's own bytes, for the alternatives in `top_logprobs`. */
  readonly bytesOf: (id: number) => Uint8Array;
  /** Texts that end the answer; never emitted. */
  readonly stop: readonly string[];
  /** Where the answer comes from, read when it ends. */
  readonly route: () => Route;
  readonly promptTokens: number;
}

const decoder = new TextDecoder();

/**
 * Yields text as soon as no stop sequence can begin in it. Ends the token stream, and so the compute, when a stop
 * sequence completes.
 */
export function textStream(
  tokens: AsyncIterable<TokenEvent>,
  options: TextStreamOptions,
): AsyncIterableIterator<ChoiceEvent> {
  const source = tokens[Symbol.asyncIterator]();
  return closing(texts(source, options), async () => source.return?.());
}

async function* texts(
  source: AsyncIterator<TokenEvent>,
  options: TextStreamOptions,
): AsyncGenerator<ChoiceEvent, void> {
  const tokens = { [Symbol.asyncIterator]: () => source };
  let held = ""; // text that may be the beginning of a stop sequence
  let waiting: TextToken[] = []; // tokens whose text is not emitted yet
  const produced = new Map<number, number>();
  let cached = 0;
  for await (const event of tokens) {
    if (event.type === "end") {
      const rest = held + options.detokenizer.flush();
      if (rest !== "" || waiting.length > 0) yield { type: "text", text: rest, tokens: waiting };
      const { finish_reason: finishReason, usage, timings } = event;
      yield { type: "end", finishReason, usage, timings, route: options.route() };
      return;
    }
    cached = event.cached_tokens ?? cached;
    produced.set(event.exit, (produced.get(event.exit) ?? 0) + 1);
    const token = describe(event, options);
    held += token.text;
    waiting.push(token);
    const stopAt = firstStop(held, options.stop);
    if (stopAt !== -1) {
      const emitted = before(waiting, stopAt - (held.length - lengthOf(waiting)));
      if (stopAt > 0) yield { type: "text", text: held.slice(0, stopAt), tokens: emitted };
      yield stopped(produced, cached, options);
      return;
    }
    const safe = held.length - partialStop(held, options.stop);
    if (safe > 0) {
      yield { type: "text", text: held.slice(0, safe), tokens: waiting };
      held = held.slice(safe);
      waiting = [];
    }
  }
  throw new Error("the token stream ended without an end event");
}

function lengthOf(tokens: readonly TextToken[]): number {
  return tokens.reduce((sum, { text }) => sum + text.length, 0);
}

/** The tokens of which a character stands in the first `end` characters of their text. */
function before(tokens: readonly TextToken[], end: number): TextToken[] {
  let from = 0;
  return tokens.filter(({ text }) => {
    const kept = from < end;
    from += text.length;
    return kept;
  });
}

/** The end of an answer that a stop sequence ended: what was produced until then is what is paid. */
function stopped(produced: ReadonlyMap<number, number>, cached: number, options: TextStreamOptions): ChoiceEvent {
  const usage: Usage = {
    prompt_tokens: options.promptTokens,
    cached_tokens: cached,
    completion_tokens_by_exit: Object.fromEntries(produced),
  };
  return { type: "end", finishReason: "stop", usage, timings: null, route: options.route() };
}

function describe(event: TokenWithExit, options: TextStreamOptions): TextToken {
  const { text, bytes } = options.detokenizer.push(event.id);
  const top = (event.top_logprobs ?? []).map(({ id, logprob }) => {
    const raw = options.bytesOf(id);
    return { text: decoder.decode(raw), bytes: [...raw], logprob };
  });
  return { text, bytes, logprob: event.logprob, exit: event.exit, top };
}

/** Index of the earliest stop sequence in `text`; -1 when there is none. */
export function firstStop(text: string, stop: readonly string[]): number {
  let first = -1;
  for (const sequence of stop) {
    const at = text.indexOf(sequence);
    if (at !== -1 && (first === -1 || at < first)) first = at;
  }
  return first;
}

/** Length of the longest end of `text` that begins a stop sequence. */
export function partialStop(text: string, stop: readonly string[]): number {
  let longest = 0;
  for (const sequence of stop) {
    for (let length = Math.min(sequence.length - 1, text.length); length > longest; length--) {
      if (text.endsWith(sequence.slice(0, length))) longest = length;
    }
  }
  return longest;
}
