/**
 * Metering one answer: the tokens of all its choices are counted as they pass, its lease is renewed while it runs, and
 * it is settled once, however it ends.
 */
import type { Charge } from "./conversation.ts";
import { ApiError } from "./errors.ts";
import type { TokenEvent } from "./generation.ts";
import { closing } from "./iteration.ts";
import { describeError, log } from "./log.ts";
import type { MicroUsd } from "./money.ts";
import { Tally, type Place } from "./tally.ts";
import { costOf } from "./tenant/ledger/finish.ts";
import type { ExitTokens, UsageLine } from "./tenant/pricing.ts";

/** Renewals a lease: one may be lost, and the answer still stops before the lease ends. */
const RENEWALS = 4;
/** Share of the lease after which an answer must not run without renewal: what it computes last is settled, too. */
const STOP_SHARE = 5 / 6;

export interface MeterOptions {
  readonly requestId: string;
  /** The answer is delivered whole or not at all: what breaks off is recorded, and costs nothing. */
  readonly whole: boolean;
  readonly leaseMs: number;
  /** Tokens of each prompt. */
  readonly prompts: readonly number[];
  readonly price: (tokens: readonly ExitTokens[]) => UsageLine[];
  /** What the deepest exit would charge for them. */
  readonly fullDepthCost: (tokens: readonly ExitTokens[]) => MicroUsd;
  /** Of an answer that another request has computed. */
  readonly priceHit: (tokens: readonly ExitTokens[]) => UsageLine[];
  /** @returns false when the hold is gone */
  readonly renew: (metered: readonly UsageLine[]) => Promise<boolean>;
  readonly settle: (lines: readonly UsageLine[]) => Promise<unknown>;
}

/** Whose tokens are counted. */
export interface CountedChoice {
  readonly tier: () => ExitTokens["tier"];
  /** Index of the prompt that it reads for all choices of it; null: another choice has read it. */
  readonly reads: number | null;
}

export class Meter {
  readonly #options: MeterOptions;
  readonly #lost = new AbortController();
  readonly #timer: ReturnType<typeof setInterval>;
  #tally: Tally;
  #hit = false;
  #stopAt: number;
  #settled: Promise<void> | null = null;
  #charged: MicroUsd | null = null;
  /** Resolves when the hold is settled: whoever keeps the request's context alive waits for it. */
  readonly done: Promise<void>;
  #finish!: () => void;

  /** @param reservedAt when the reservation was sent: the lease began no earlier */
  constructor(options: MeterOptions, reservedAt: number) {
    this.#options = options;
    this.#tally = new Tally(options.prompts);
    this.#stopAt = reservedAt + options.leaseMs * STOP_SHARE;
    this.#timer = setInterval(() => void this.#renew(), options.leaseMs / RENEWALS);
    this.done = new Promise((resolve) => (this.#finish = resolve));
  }

  /** Aborted when the lease is lost: the compute must stop. */
  get lost(): AbortSignal {
    return this.#lost.signal;
  }

  /** Of what was produced so far; in the end, what is settled. */
  charge(): Charge {
    const cost = this.#charged ?? costOf(this.#lines());
    return { cost, fullDepthCost: this.#options.fullDepthCost(this.#tally.lines()) };
  }

  /** From now on a prompt is paid, once: an exit is reading it, or has read it. @param prompt its index */
  startReading(prompt: number, reader: Place): void {
    this.#tally.read(prompt, reader);
  }

  /** Passes one choice's tokens on and counts them. They end with an error when the lease is lost. */
  count(tokens: AsyncIterable<TokenEvent>, choice: CountedChoice): AsyncIterableIterator<TokenEvent> {
    const source = tokens[Symbol.asyncIterator]();
    return closing(this.#counted(source, choice), async () => source.return?.());
  }

  async *#counted(source: AsyncIterator<TokenEvent>, choice: CountedChoice): AsyncGenerator<TokenEvent, void> {
    try {
      for await (const event of { [Symbol.asyncIterator]: () => source }) {
        this.#lost.signal.throwIfAborted();
        if (event.type === "token") this.#tally.made({ exit: event.exit, tier: choice.tier() });
        const cached = event.type === "token" ? event.cached_tokens : event.usage.cached_tokens;
        if (choice.reads !== null && cached !== undefined) this.#tally.cached(choice.reads, cached);
        yield event;
      }
    } catch (error) {
      this.#lost.signal.throwIfAborted();
      throw error;
    }
  }

  /** Whether another request's answer is told. */
  get isReplay(): boolean {
    return this.#hit;
  }

  /** From now on another request's answer is told: it costs the hit's price, by what is told of it. */
  startReplay(reader: Place): void {
    this.#hit = true;
    this.#tally = new Tally(this.#options.prompts);
    for (const [prompt, tokens] of this.#options.prompts.entries()) {
      this.#tally.read(prompt, reader);
      this.#tally.cached(prompt, tokens);
    }
  }

  /** One told token more. */
  replayed(place: Place): void {
    this.#tally.made(place);
  }

  /** The rest is computed for this request after all: what it was told until now costs nothing. */
  endReplay(): void {
    this.#hit = false;
    this.#tally = new Tally(this.#options.prompts);
  }

  /**
   * Passes a whole answer on. The hold is settled before its end is told, and whenever it fails, is left unread, or its
   * client is gone. A client that leaves pays for what was computed until then, however it would have been delivered.
   */
  settling<T extends { readonly type: string }>(
    events: AsyncIterableIterator<T>,
    gone: AbortSignal,
  ): AsyncIterableIterator<T> {
    const settle = (): Promise<void> => this.settle();
    if (gone.aborted) void settle();
    else gone.addEventListener("abort", () => void settle(), { once: true });
    return closing(this.#settledAtEnd(events), async () => {
      await events.return?.();
      await settle();
    });
  }

  async *#settledAtEnd<T extends { readonly type: string }>(events: AsyncIterable<T>): AsyncGenerator<T, void> {
    try {
      for await (const event of events) {
        if (event.type === "end") await this.settle();
        yield event;
      }
    } catch (error) {
      await this.#breakOff();
      throw error;
    } finally {
      await this.settle();
    }
  }

  /** The answer ends too early, through no fault of the client: charges what was delivered. */
  #breakOff(): Promise<void> {
    if (!this.#options.whole) return this.settle();
    this.#settled ??= this.#settle(this.#lines().map((line) => ({ ...line, cost: 0 })));
    return this.#settled;
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
    this.#charged = costOf(lines);
    try {
      await this.#options.settle(lines);
    } catch (error) {
      const fields = { request_id: this.#options.requestId, cost_micro_usd: this.#charged };
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

  /** Nothing is counted from here on, so what is settled is what was produced. */
  #lose(why: string): void {
    const error = new ApiError("The server had to end this answer early. Please try again.", {
      status: 503,
      type: "server_error",
      code: "answer_interrupted",
      cause: new Error(why),
    });
    this.#lost.abort(error);
    void this.#breakOff();
  }

  #lines(): UsageLine[] {
    const { price, priceHit } = this.#options;
    return (this.#hit ? priceHit : price)(this.#tally.lines());
  }
}
