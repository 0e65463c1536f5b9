/** The body of an accepted `POST /v1/generate` as token events, believed only as far as it can be checked. */
import type { GenerationRequest, TokenEvent } from "../generation.ts";
import { AnswerCheck, type Answering } from "./answer-check.ts";
import type { Call } from "./call.ts";
import { OriginError } from "./origin-error.ts";
import { maxAnswerBytes, MAX_EVENT_LINE_BYTES, streamLineSchema } from "./protocol.ts";
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
  readonly #check: AnswerCheck;
  readonly #onEnd: ((end: Extract<TokenEvent, { type: "end" }>) => void) | undefined;
  readonly #parser: SseParser;
  readonly #payloads: string[] = [];
  /** Read by `open`, not yet given out. */
  #first: IteratorResult<TokenEvent, undefined> | null = null;
  #state: "open" | "ended" | "closed" = "open";

  private constructor(
    call: Call,
    body: ReadableStream<Uint8Array>,
    request: GenerationRequest,
    answering: Answering | undefined,
    onEnd: ((end: Extract<TokenEvent, { type: "end" }>) => void) | undefined,
  ) {
    this.#onEnd = onEnd;
    this.#call = call;
    this.#reader = body.getReader();
    this.#parser = new SseParser(MAX_EVENT_LINE_BYTES, maxAnswerBytes(request.max_tokens));
    this.#check = new AnswerCheck(request, answering);
  }

  /**
   * Waits for the first event: a stream that is given out has begun.
   * @param answering the checkpoint that answers; undefined: any
   * @throws as `next`
   */
  static async open(
    call: Call,
    body: ReadableStream<Uint8Array>,
    request: GenerationRequest,
    answering?: Answering,
    onEnd?: (end: Extract<TokenEvent, { type: "end" }>) => void,
  ): Promise<TokenStream> {
    call.expectAll(request.max_tokens);
    const stream = new TokenStream(call, body, request, answering, onEnd);
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
    this.#call.expectWithin(this.#check.tokens === 0 ? firstEventMs : idleMs, "the next event");
    while (this.#payloads.length === 0) {
      const { done, value } = await this.#call.race(this.#reader.read(), "interrupted");
      if (done)
        throw new OriginError("interrupted", `the answer ends after ${this.#check.tokens} tokens, without an end`);
      this.#payloads.push(...this.#parser.push(value));
    }
    this.#call.expectNothing();
    const event = parseLine(this.#payloads.shift()!);
    this.#check.check(event);
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
