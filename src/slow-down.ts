/** Makes guessing slow: after a few wrong attempts an address has to wait, twice as long after each one more. A leaf. */

/** Wrong attempts that cost nothing: people mistype. */
const FREE_ATTEMPTS = 5;
const FIRST_WAIT_MS = 1_000;
const LONGEST_WAIT_MS = 60_000;
/** Milliseconds without a wrong attempt after which an address is as good as new. */
const FORGET_MS = 600_000;
/** Addresses that are remembered; the one that was wrong longest ago goes first. */
const MAX_ADDRESSES = 10_000;

interface Failures {
  readonly count: number;
  readonly at: number;
}

export class SlowDown {
  /** In the order of the last wrong attempt. */
  readonly #failures = new Map<string, Failures>();

  /** Milliseconds that an address has to wait before its next attempt is looked at; 0: none. */
  waitOf(address: string, now: number): number {
    const failures = this.#failures.get(address);
    if (failures === undefined || failures.count < FREE_ATTEMPTS || now - failures.at >= FORGET_MS) return 0;
    const wait = Math.min(FIRST_WAIT_MS * 2 ** (failures.count - FREE_ATTEMPTS), LONGEST_WAIT_MS);
    return Math.max(failures.at + wait - now, 0);
  }

  /** An attempt of this address was wrong. */
  wrong(address: string, now: number): void {
    const before = this.#failures.get(address);
    const count = before === undefined || now - before.at >= FORGET_MS ? 1 : before.count + 1;
    this.#failures.delete(address);
    this.#failures.set(address, { count, at: now });
    const [oldest] = this.#failures.keys();
    if (this.#failures.size > MAX_ADDRESSES && oldest !== undefined) this.#failures.delete(oldest);
  }

  /** An attempt was right. */
  right(address: string): void {
    this.#failures.delete(address);
  }
}
