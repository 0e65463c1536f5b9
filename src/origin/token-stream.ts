/** The body of an accepted `POST /v1/generate` as token events, believed only as far as it can be checked. */
import type { GenerationRequest, TokenEvent } from "../generation.ts";
import type { Call } from "./call.ts";
import { OriginError } from "./origin-error.ts";
import { MAX_EVENT_LINE_BYTES, streamLineSchema } from "./protocol.ts";
import { SseParser } from "./sse-reader.ts";

/** Milliseconds to wait for the stream to close after `end`, so that the connection can be used again. */
const CLOSE_MS = 1_000;

/**
 * Reads one answer. `next` never yields anything after `end`; `return` aborts the request.
 * Not a generator: `return` must abort even when nothing was read yet.
 */
export class TokenStream implements AsyncIterableIterator<TokenEvent, undefined> {
  readonly #call: Call;
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;
  readonly #request: GenerationRequest;
  readonly #onEnd: ((end: Extract<TokenEvent, { type: "end" }>) => void) | undefined;
  readonly #parser = new SseParser(MAX_EVENT_LINE_BYTES);
  readonly #payloads: string[] = [];
  /** Tokens so far by exit layer, to hold the usage against. */
  readonly #tokensByExit = new Map<number, number>();
  #tokens = 0;
  /** Read by `open`, not yet given out. */
  #first: IteratorResult<TokenEvent, undefined> | null = null;
  #state: "open" | "ended" | "closed" = "open";

  private constructor(
    call: Call,
    body: ReadableStream<Uint8Array>,
    request: GenerationRequest,
    onEnd: ((end: Extract<TokenEvent, { type: "end" }>) => void) | undefined,
  ) {
    this.#onEnd = onEnd;
    this.#call = call;
    this.#reader = body.getReader();
    this.#request = request;
  }

  /** Waits for the first event: a stream that is given out has begun. @throws as `next` */
  static async open(
    call: Call,
    body: ReadableStream<Uint8Array>,
    request: GenerationRequest,
    onEnd?: (end: Extract<TokenEvent, { type: "end" }>) => void,
  ): Promise<TokenStream> {
    const stream = new TokenStream(call, body, request, onEnd);
    stream.#first = await stream.next();
    return stream;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  /** @throws {OriginError} `timeout`, `malformed`, `interrupted`; the caller's abort reason. */
  async next(): Promise<IteratorResult<TokenEvent, undefined>> {
    const first = this.#first;
    this.#first = null;
    if (first !== null && this.#state !== "closed") return first;
    if (this.#state === "open") {
      try {
        const event = await this.#readEvent();
        if (event.type === "end") {
          this.#state = "ended";
          this.#onEnd?.(event);
        }
        return { done: false, value: event };
      } catch (error) {
        this.#close();
        throw error;
      }
    }
    if (this.#state === "ended") await this.#awaitClose();
    this.#close();
    return { done: true, value: undefined };
  }

  async return(): Promise<IteratorResult<TokenEvent, undefined>> {
    this.#close();
    return { done: true, value: undefined };
  }

  #close(): void {
    this.#state = "closed";
    this.#call.end();
  }

  async #readEvent(): Promise<TokenEvent> {
    const { idleMs, firstEventMs } = this.#call.timeouts;
    this.#call.expectWithin(this.#tokens === 0 ? firstEventMs : idleMs, "the next event");
    while (this.#payloads.length === 0) {
      const { done, value } = await this.#call.race(this.#reader.read(), "interrupted");
      if (done) throw new OriginError("interrupted", `the answer ends after ${this.#tokens} tokens, without an end`);
      this.#payloads.push(...this.#parser.push(value));
    }
    this.#call.expectNothing();
    return this.#check(this.#payloads.shift()!);
  }

  #check(payload: string): TokenEvent {
    const event = parseLine(payload);
    if (event.type === "token") {
      this.#tokens += 1;
      this.#tokensByExit.set(event.exit, (this.#tokensByExit.get(event.exit) ?? 0) + 1);
      if (this.#tokens > this.#request.max_tokens) throw malformed("more tokens than were asked for");
      if (event.exit > this.#request.exit_layer) throw malformed(`a token of exit ${event.exit}`);
      return event;
    }
    const claimed = Object.entries(event.usage.completion_tokens_by_exit).filter(([, count]) => count > 0);
    const agrees = claimed.every(([exit, count]) => this.#tokensByExit.get(Number(exit)) === count);
    if (!agrees || claimed.length !== this.#tokensByExit.size) throw malformed("usage disagrees with the tokens sent");
    if (event.usage.prompt_tokens > this.#request.token_ids.length)
      throw malformed("more prompt tokens than were sent");
    return event;
  }

  /** Lets a well-behaved server finish its response; whatever else it says is not read. */
  async #awaitClose(): Promise<void> {
    this.#call.expectWithin(CLOSE_MS, "the end of the stream");
    try {
      while (!(await this.#call.race(this.#reader.read(), "interrupted")).done);
    } catch {
      // The answer is whole; how its connection ends changes nothing.
    }
  }
}

const malformed = (message: string): OriginError => new OriginError("malformed", `the answer is wrong: ${message}`);

/** @throws {OriginError} `malformed` when it is no event, `interrupted` when it is the server's own error. */
function parseLine(payload: string): TokenEvent {
  let value: unknown;
  try {
    value = JSON.parse(payload);
  } catch (cause) {
    throw new OriginError("malformed", `an event is not JSON: ${payload.slice(0, 80)}`, { cause });
  }
  const parsed = streamLineSchema.safeParse(value);
  if (!parsed.success) throw new OriginError("malformed", `an event is outside the protocol: ${payload.slice(0, 80)}`);
  if ("error" in parsed.data) {
    const { message, code } = parsed.data.error;
    throw new OriginError("interrupted", `the origin failed: ${message.slice(0, 200)}`, { code });
  }
  return parsed.data;
}
