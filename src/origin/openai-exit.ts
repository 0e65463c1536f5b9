/**
 * An exit that any OpenAI-compatible engine serves (vLLM, SGLang, llama.cpp, …): a checkpoint of `sortie-view`, asked at
 * `POST {url}/completions`. Its stream becomes token events, so that everything after it is blind to who answered.
 */
import { z } from "zod";
import type { OpenaiExit } from "../env.ts";
import { GREEDY, type GenerationRequest, type TokenEvent } from "../generation.ts";
import { Call, DEFAULT_TIMEOUTS, type OriginTimeouts } from "./call.ts";
import { OriginError, retryAfterOf } from "./origin-error.ts";
import { maxAnswerBytes, MAX_EVENT_LINE_BYTES, SSE_TYPE } from "./protocol.ts";
import { SseParser } from "./sse-reader.ts";

/** The checkpoint's tokenizer, as far as an answer in text needs it. */
export interface TextRim {
  /** Ids are below it. */
  readonly vocabulary: number;
  /** Ids of a piece of an answer. @throws RangeError where pieces cannot be told apart. */
  readonly idsOf: (text: string) => readonly number[];
  /** A prompt's text, control tokens spelt. null: some of its text spells one, too. */
  readonly textOf: (ids: readonly number[]) => string | null;
}

/** Choices of a chunk that are looked at: one was asked for. */
const MAX_CHOICES = 16;

const chunkSchema = z.object({
  choices: z
    .array(
      z.object({
        index: z.int().default(0),
        text: z.string(),
        finish_reason: z.string().nullish(),
        /** vLLM, Sortie: the ids themselves. */
        token_ids: z.array(z.int().min(0)).nullish(),
      }),
    )
    .max(MAX_CHOICES),
});
type Chunk = z.infer<typeof chunkSchema>;
type Choice = Chunk["choices"][number];

/**
 * Asks for tokens. Resolves with the first event, as `OriginClient.generate` does. Log-probabilities are not told: 0.
 * The engine is believed in nothing: tokens, bytes, time and ids are bounded here, and usage is counted, not read.
 * @throws {OriginError} now, or while iterating; the signal's reason when the caller aborts.
 */
export async function generateOpenai(
  exit: OpenaiExit,
  request: GenerationRequest,
  rim: TextRim,
  signal?: AbortSignal,
  send: typeof fetch = (input, init) => fetch(input, init),
  timeouts: OriginTimeouts = DEFAULT_TIMEOUTS,
): Promise<AsyncIterable<TokenEvent>> {
  const prompt = exit.prompt === "ids" ? request.token_ids : rim.textOf(request.token_ids);
  if (prompt === null) throw new OriginError("refused", "a text that spells a control token cannot be sent as text");
  const call = new Call(timeouts, signal);
  try {
    call.expectWithin(timeouts.connectMs, "an answer");
    const response = await call.race(
      send(`${exit.url.replace(/\/$/, "")}/completions`, {
        method: "POST",
        headers: { "content-type": "application/json", ...(exit.key && { authorization: `Bearer ${exit.key}` }) },
        body: JSON.stringify({
          model: exit.model,
          prompt,
          stream: true,
          ...(exit.answer === "ids" && { return_token_ids: true }),
          ...parameters(request),
        }),
        redirect: "manual",
        signal: call.signal,
      }),
      "unreachable",
    );
    if (response.status !== 200) throw refusal(response);
    const isStream = response.headers.get("content-type")?.startsWith(SSE_TYPE) ?? false;
    if (!isStream || response.body === null) throw new OriginError("malformed", "the answer is no event stream");
    const events = tokenEvents(call, response.body, request, rim);
    return resumed(await events.next(), events);
  } catch (error) {
    call.end();
    throw error;
  }
}

/** What differs from the default: engines refuse parameters they do not know. */
function parameters({ max_tokens, sampling }: GenerationRequest): Record<string, number> {
  const { temperature, seed, ...others } = sampling;
  const asked = Object.entries(others).filter(([name, value]) => value !== GREEDY[name as keyof typeof others]);
  return { max_tokens, temperature, seed, ...Object.fromEntries(asked) };
}

function refusal({ status, headers, body }: Response): OriginError {
  void body?.cancel();
  const details = { status, retryAfterSeconds: retryAfterOf(headers) };
  const kind = status === 429 || status === 503 ? "overloaded" : status >= 500 ? "unreachable" : "refused";
  return new OriginError(kind, `the engine answered ${status}`, details);
}

async function* tokenEvents(
  call: Call,
  body: ReadableStream<Uint8Array>,
  request: GenerationRequest,
  rim: TextRim,
): AsyncGenerator<TokenEvent, undefined> {
  const { exit_layer: exit, max_tokens: most } = request;
  const started = performance.now();
  let [tokens, prefilled] = [0, started];
  let reason: "stop" | "length" | null = null;
  try {
    for await (const choice of choices(call, body, most, () => tokens)) {
      const { ids, ended } = answerIds(choice, request, rim, most - tokens);
      for (const id of ids) {
        if (tokens === 0) prefilled = performance.now();
        tokens += 1;
        yield { type: "token", id, logprob: 0, exit };
      }
      if (choice.finish_reason) reason = choice.finish_reason === "length" ? "length" : "stop";
      if (ended) reason = "stop";
      else if (tokens >= most) reason ??= "length";
      if (ended || tokens >= most) break; // whatever it still says was not asked for
    }
    const usage = {
      prompt_tokens: request.token_ids.length - request.answer_tokens,
      cached_tokens: 0,
      completion_tokens_by_exit: tokens === 0 ? {} : { [exit]: tokens },
    };
    const now = performance.now();
    const timings = { queue_ms: 0, prefill_ms: prefilled - started, decode_ms: now - prefilled };
    yield { type: "end", finish_reason: reason ?? "stop", usage, timings };
  } finally {
    call.end();
  }
}

/**
 * A chunk's ids that belong to the answer, and whether a stop id ended it: vLLM tells that one, too. A piece of text may
 * take more ids than the engine's own: the bound that was paid for holds all the same.
 * @throws {OriginError} for an id that the vocabulary does not have
 */
function answerIds(
  { token_ids: own, text }: Choice,
  { stop_token_ids: stops }: GenerationRequest,
  rim: TextRim,
  most: number,
): { readonly ids: readonly number[]; readonly ended: boolean } {
  const all = own ?? rim.idsOf(text);
  const stop = all.findIndex((id) => stops.includes(id));
  const ids = all.slice(0, stop === -1 ? most : Math.min(stop, most));
  const foreign = ids.find((id) => id >= rim.vocabulary);
  if (foreign !== undefined) throw new OriginError("malformed", `the vocabulary has no token ${foreign}`);
  return { ids, ended: stop !== -1 && stop <= most };
}

/**
 * The answer's choice in each chunk, up to `[DONE]`. A chunk that brings nothing does not move the deadline.
 * @throws {OriginError}
 */
async function* choices(
  call: Call,
  body: ReadableStream<Uint8Array>,
  maxTokens: number,
  tokens: () => number,
): AsyncGenerator<Choice> {
  const reader = body.getReader();
  const parser = new SseParser(MAX_EVENT_LINE_BYTES, maxAnswerBytes(maxTokens));
  call.expectAll(maxTokens);
  let [known, left] = [0, call.timeouts.firstEventMs];
  for (;;) {
    const started = performance.now();
    call.expectWithin(left, "the next token");
    const { done, value } = await call.race(reader.read(), "interrupted");
    if (done) throw new OriginError("interrupted", "the answer ends without [DONE]");
    call.expectNothing();
    left -= performance.now() - started;
    for (const payload of parser.push(value)) {
      if (payload === "[DONE]") return;
      const choice = parseChunk(payload).choices.find(({ index }) => index === 0);
      if (choice !== undefined) yield choice;
    }
    if (tokens() > known) [known, left] = [tokens(), call.timeouts.idleMs];
  }
}

function parseChunk(payload: string): Chunk {
  let value: unknown;
  try {
    value = JSON.parse(payload);
  } catch (cause) {
    throw new OriginError("malformed", `a chunk is not JSON: ${payload.slice(0, 80)}`, { cause });
  }
  const parsed = chunkSchema.safeParse(value);
  if (parsed.success) return parsed.data;
  const failed = typeof value === "object" && value !== null && "error" in value;
  throw new OriginError(failed ? "interrupted" : "malformed", `the engine failed: ${payload.slice(0, 80)}`);
}

/** The events again, the first of which was read. Ending early ends the request. */
function resumed(
  first: IteratorResult<TokenEvent, undefined>,
  rest: AsyncGenerator<TokenEvent, undefined>,
): AsyncIterable<TokenEvent> {
  let next: typeof first | null = first;
  const events: AsyncIterableIterator<TokenEvent, undefined> = {
    [Symbol.asyncIterator]: () => events,
    async next() {
      const result = next ?? (await rest.next());
      next = null;
      return result;
    },
    return: () => rest.return(undefined),
  };
  return events;
}
