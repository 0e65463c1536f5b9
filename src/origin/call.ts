/** One HTTP request to an origin: its deadlines, its end, and how its failures are told apart. */
import { OriginError, type OriginErrorKind } from "./origin-error.ts";

/** Milliseconds, each ending in an `OriginError` of kind `timeout`. */
export interface OriginTimeouts {
  /** From the request to the response's headers. */
  readonly connectMs: number;
  /** From the headers to the first event: queue and prefill. Pings do not count. */
  readonly firstEventMs: number;
  /** Between two events. Pings do not count. */
  readonly idleMs: number;
  /** A token, on average: so many times the tokens asked for, and the first event's time, a whole answer may take. */
  readonly tokenMs: number;
}

/** Connect: a round trip and an upload. First event: a full queue and a long prompt. Idle: a token of a busy origin. */
export const DEFAULT_TIMEOUTS: OriginTimeouts = {
  connectMs: 5_000,
  firstEventMs: 30_000,
  idleMs: 15_000,
  tokenMs: 2_000,
};

/** Owns the abort of one request. Whatever it waits for ends at a deadline or when the caller aborts. */
export class Call {
  readonly timeouts: OriginTimeouts;
  readonly #controller = new AbortController();
  readonly #aborted: Promise<never>;
  readonly #callerSignal: AbortSignal | undefined;
  readonly #onCallerAbort = (): void => this.#controller.abort(this.#callerSignal?.reason);
  #timer: ReturnType<typeof setTimeout> | undefined;
  /** Milliseconds that may still be waited for the rest of the answer; a slow reader's time does not count. */
  #left = Infinity;

  /** @throws the signal's reason when it is aborted already. */
  constructor(timeouts: OriginTimeouts, callerSignal: AbortSignal | undefined) {
    callerSignal?.throwIfAborted();
    this.timeouts = timeouts;
    this.#callerSignal = callerSignal;
    this.#aborted = new Promise<never>((_, reject) => {
      this.signal.addEventListener("abort", () => reject(this.signal.reason as Error), { once: true });
    });
    this.#aborted.catch(() => {}); // nobody may be waiting when it comes
    callerSignal?.addEventListener("abort", this.#onCallerAbort, { once: true });
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  /** Starts a deadline, in place of the one before. */
  expectWithin(milliseconds: number, what: string): void {
    this.expectNothing();
    const [within, missed] = this.#left < milliseconds ? [this.#left, "the answer's end"] : [milliseconds, what];
    const late = (): void =>
      this.#controller.abort(new OriginError("timeout", `${missed} did not come within ${Math.ceil(within)} ms`));
    if (within > 0) this.#timer = setTimeout(late, within);
    else late();
  }

  /** From now on all waiting together is bounded, too. @param tokens the most that the answer may have */
  expectAll(tokens: number): void {
    this.#left = this.timeouts.firstEventMs + tokens * this.timeouts.tokenMs;
  }

  expectNothing(): void {
    clearTimeout(this.#timer);
  }

  /**
   * Waits for a piece of I/O, or the deadline, or the caller's abort.
   * @throws {OriginError} of `kind` when the I/O fails by itself.
   */
  async race<T>(work: Promise<T>, kind: OriginErrorKind): Promise<T> {
    work.catch(() => undefined); // nobody waits for it any more when the abort came first
    this.signal.throwIfAborted();
    const started = performance.now();
    try {
      return await Promise.race([work, this.#aborted]);
    } catch (cause) {
      this.signal.throwIfAborted();
      throw new OriginError(kind, `the connection failed: ${cause instanceof Error ? cause.message : String(cause)}`, {
        cause,
      });
    } finally {
      this.#left -= performance.now() - started;
    }
  }

  /** Ends the request, whatever its state; may be called again. */
  end(): void {
    this.expectNothing();
    this.#callerSignal?.removeEventListener("abort", this.#onCallerAbort);
    this.#controller.abort(new OriginError("interrupted", "the request was ended"));
  }
}
