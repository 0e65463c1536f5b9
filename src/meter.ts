/**
 * Metering one answer: its tokens are counted as they pass, its lease is renewed while it runs, and it is settled
 * once, however it ends.
 */
import { ApiError } from "./errors.ts";
import type { TokenEvent } from "./generation.ts";
import { closing } from "./iteration.ts";
import { describeError, log } from "./log.ts";
import { costOf } from "./tenant/ledger/finish.ts";
import type { MicroUsd } from "./money.ts";
import type { ExitTokens, UsageLine } from "./tenant/pricing.ts";

/** Renewals a lease: one may be lost, and the answer still stops before the lease ends. */
const RENEWALS = 4;
/** Share of the lease after which an answer must not run without renewal: what it computes last is settled, too. */
const STOP_SHARE = 5 / 6;

export interface MeterOptions {
  readonly requestId: string;
  readonly leaseMs: number;
  readonly promptTokens: number;
  readonly price: (tokens: readonly ExitTokens[]) => UsageLine[];
  /** @returns false when the hold is gone */
  readonly renew: (metered: readonly UsageLine[]) => Promise<boolean>;
  readonly settle: (lines: readonly UsageLine[]) => Promise<unknown>;
}

/** Which exit read the prompt, and where. */
export interface Reader {
  readonly exit: number;
  readonly tier: ExitTokens["tier"];
}

export class Meter {
  readonly #options: MeterOptions;
  readonly #lost = new AbortController();
  readonly #timer: ReturnType<typeof setInterval>;
  readonly #produced = new Map<number, number>();
  #reader: Reader | null = null;
  #cachedTokens = 0;
  #stopAt: number;
  #settled: Promise<void> | null = null;
  /** Resolves when the hold is settled: whoever keeps the request's context alive waits for it. */
  readonly done: Promise<void>;
  #finish!: () => void;

  /** @param reservedAt when the reservation was sent: the lease began no earlier */
  constructor(options: MeterOptions, reservedAt: number) {
    this.#options = options;
    this.#stopAt = reservedAt + options.leaseMs * STOP_SHARE;
    this.#timer = setInterval(() => void this.#renew(), options.leaseMs / RENEWALS);
    this.done = new Promise((resolve) => (this.#finish = resolve));
  }

  /** Aborted when the lease is lost: the compute must stop. */
  get lost(): AbortSignal {
    return this.#lost.signal;
  }

  /** Micro-dollars of what was produced so far. */
  cost(): MicroUsd {
    return costOf(this.#lines());
  }

  /** From now on the prompt is paid: an exit is reading it, or has read it. */
  startReading(reader: Reader): void {
    this.#reader = reader;
  }

  /**
   * Passes tokens on and counts them. The hold is settled before the end is told, and whenever the tokens fail, are
   * left unread, or their client is gone.
   * @param handedOver prompt tokens that the other tier read for this very request: they count as read, not as cached
   */
  count(tokens: AsyncIterable<TokenEvent>, handedOver: number, gone: AbortSignal): AsyncIterable<TokenEvent> {
    const source = tokens[Symbol.asyncIterator]();
    const settle = (): Promise<void> => this.settle();
    if (gone.aborted) void settle();
    else gone.addEventListener("abort", () => void settle(), { once: true });
    return closing(this.#pass(source, handedOver), async () => {
      await source.return?.();
      await settle();
    });
  }

  async *#pass(source: AsyncIterator<TokenEvent>, handedOver: number): AsyncGenerator<TokenEvent, void> {
    try {
      for await (const event of { [Symbol.asyncIterator]: () => source }) {
        this.#lost.signal.throwIfAborted();
        if (event.type === "end") {
          this.#cachedTokens = Math.max(event.usage.cached_tokens - handedOver, 0);
          await this.settle();
        } else {
          this.#produced.set(event.exit, (this.#produced.get(event.exit) ?? 0) + 1);
        }
        yield event;
      }
    } catch (error) {
      this.#lost.signal.throwIfAborted();
      throw error;
    } finally {
      await this.settle();
    }
  }

  /** Charges what was produced, once. Never fails: if the ledger does not hear of it, the lease ends by itself. */
  settle(): Promise<void> {
    this.#settled ??= this.#settle(this.#lines());
    return this.#settled;
  }

  /** Gives the hold back: there was no answer. */
  release(): Promise<void> {
    this.#settled ??= this.#settle([]);
    return this.#settled;
  }

  async #settle(lines: readonly UsageLine[]): Promise<void> {
    clearInterval(this.#timer);
    try {
      await this.#options.settle(lines);
    } catch (error) {
      const fields = { request_id: this.#options.requestId, cost_micro_usd: costOf(lines) };
      log("ledger.not_settled", { ...fields, error: describeError(error) }, "error");
    } finally {
      this.#finish();
    }
  }

  async #renew(): Promise<void> {
    const sentAt = Date.now();
    const { leaseMs, requestId } = this.#options;
    if (sentAt + leaseMs / RENEWALS > this.#stopAt) return this.#lose("the lease was not renewed in time");
    try {
      const renewed = await this.#options.renew(this.#lines());
      if (this.#settled !== null) return;
      if (renewed) this.#stopAt = sentAt + leaseMs * STOP_SHARE;
      else this.#lose("the hold is gone, or its key was revoked");
    } catch (error) {
      log("ledger.not_renewed", { request_id: requestId, error: describeError(error) }, "warn");
    }
  }

  #lose(why: string): void {
    clearInterval(this.#timer);
    const error = new ApiError("The server had to end this answer early. Please try again.", {
      status: 503,
      type: "server_error",
      code: "answer_interrupted",
      cause: new Error(why),
    });
    this.#lost.abort(error);
  }

  #lines(): UsageLine[] {
    if (this.#reader === null) return [];
    const { exit: readBy, tier } = this.#reader;
    const { promptTokens, price } = this.#options;
    const none = { tier, promptTokens: 0, cachedTokens: 0 };
    const reading = { exit: readBy, tier, promptTokens, cachedTokens: Math.min(this.#cachedTokens, promptTokens) };
    const own = { ...reading, completionTokens: this.#produced.get(readBy) ?? 0 };
    const others = [...this.#produced]
      .filter(([exit]) => exit !== readBy)
      .map(([exit, completionTokens]) => ({ ...none, exit, completionTokens }));
    return price([own, ...others]);
  }
}
