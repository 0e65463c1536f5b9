/** One accepted request as the bytes of its event stream: waits its turn, asks for tokens, pings, ends. */
import { ApiError } from "../errors.ts";
import type { TokenEvent } from "../generation.ts";
import { PING_INTERVAL_MS } from "./protocol.ts";
import type { Outcome } from "./server-metrics.ts";
import type { Place } from "./server-queue.ts";
import { utf8 } from "./signing.ts";

/** Milliseconds a client may leave what was sent unread before its answer is given up: it holds a place. */
const STALL_MS = 30_000;

export interface AnswerOptions {
  readonly place: Place;
  /** Begins to compute; called when the request's turn has come. */
  readonly start: (signal: AbortSignal) => AsyncIterator<TokenEvent>;
  /** Aborted when the server ends before the answer does. */
  readonly serverSignal: AbortSignal;
  /** Told of every event the engine gives, sent or not. */
  readonly onEvent: (event: TokenEvent) => void;
  /** Told once. `cause` is set when the outcome is `failed`. */
  readonly onEnd: (outcome: Outcome, cause?: unknown) => void;
  /** What the client may know of a failure. */
  readonly describe: (cause: unknown) => ApiError;
}

/**
 * The stream of one answer. A token is computed when the socket has taken the one before, so a reader that stops,
 * stops the compute; a reader that goes aborts it.
 */
export function answerStream(options: AnswerOptions): ReadableStream<Uint8Array> {
  const answer = new Answer(options);
  return new ReadableStream<Uint8Array>(
    {
      start: (controller) => answer.begin(controller),
      pull: () => answer.pull(),
      cancel: () => answer.cancel("cancelled"),
    },
    { highWaterMark: 0 }, // nothing is computed ahead of its reader
  );
}

class Answer {
  readonly #options: AnswerOptions;
  readonly #abort = new AbortController();
  readonly #enteredAt = performance.now();
  #stream!: ReadableStreamDefaultController<Uint8Array>;
  #events: AsyncIterator<TokenEvent> | null = null;
  #queueMs = 0;
  #ended = false;
  /** The ping while the engine works, the patience while the client reads. */
  #timer: NodeJS.Timeout | undefined;
  readonly #onServerEnd = (): void =>
    this.#abort.abort(
      new ApiError("The origin is shutting down.", { status: 503, type: "server_error", code: "origin_draining" }),
    );

  constructor(options: AnswerOptions) {
    this.#options = options;
    options.serverSignal.addEventListener("abort", this.#onServerEnd, { once: true });
  }

  begin(stream: ReadableStreamDefaultController<Uint8Array>): void {
    this.#stream = stream;
    this.#awaitReader();
  }

  async pull(): Promise<void> {
    this.#pingWhileWorking();
    try {
      const { done, value } = await this.#nextEvent();
      if (this.#ended) return;
      if (done) throw new Error("the engine's answer has no end");
      this.#stream.enqueue(frame(value));
      if (value.type === "end") {
        this.#end(value.finish_reason);
        this.#stream.close();
      } else {
        this.#awaitReader();
      }
    } catch (cause) {
      if (this.#ended) return;
      this.#stream.enqueue(utf8(`data: ${JSON.stringify(this.#options.describe(cause).toBody())}\n\n`));
      this.#end("failed", cause);
      this.#stream.close();
    }
  }

  cancel(outcome: Outcome): void {
    if (this.#ended) return;
    this.#abort.abort(new DOMException("the client is gone", "AbortError"));
    this.#end(outcome);
  }

  async #nextEvent(): Promise<IteratorResult<TokenEvent>> {
    if (this.#events === null) {
      await this.#turn();
      this.#queueMs = performance.now() - this.#enteredAt;
      this.#events = this.#options.start(this.#abort.signal);
    }
    const result = await this.#events.next();
    if (result.done === true) return result;
    this.#options.onEvent(result.value);
    if (result.value.type === "token") return result;
    const timings = { ...result.value.timings, queue_ms: result.value.timings.queue_ms + this.#queueMs };
    return { done: false, value: { ...result.value, timings } };
  }

  /** Waits for the request's turn. @throws the abort's reason */
  async #turn(): Promise<void> {
    const { promise, reject } = Promise.withResolvers<never>();
    const onAbort = (): void => reject(this.#abort.signal.reason as Error);
    if (this.#abort.signal.aborted) onAbort();
    this.#abort.signal.addEventListener("abort", onAbort, { once: true });
    await Promise.race([this.#options.place.turn, promise]);
  }

  #end(outcome: Outcome, cause?: unknown): void {
    this.#ended = true;
    clearTimeout(this.#timer);
    this.#options.serverSignal.removeEventListener("abort", this.#onServerEnd);
    // The place is free once the engine has let go: at once when it waits for `next`, else after the step under way.
    const released = this.#events?.return?.() ?? Promise.resolve();
    void released.catch(() => {}).then(() => this.#options.place.leave());
    this.#options.onEnd(outcome, cause);
  }

  #awaitReader(): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.cancel("cancelled");
      this.#stream.error(new Error(`the client read nothing for ${STALL_MS} ms`));
    }, STALL_MS);
  }

  #pingWhileWorking(): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.#stream.enqueue(PING);
      this.#pingWhileWorking();
    }, PING_INTERVAL_MS);
  }
}

const PING = utf8(": ping\n\n");
const frame = (event: TokenEvent): Uint8Array => utf8(`data: ${JSON.stringify(event)}\n\n`);
