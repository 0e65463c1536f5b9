/** Who may compute, who waits, and who is sent away: a bounded queue, first come first served. */

export interface QueueLimits {
  /** Answers computed at once, interleaved token by token. */
  readonly active: number;
  /** Requests that wait for one of them to end. */
  readonly waiting: number;
}

/** A request's place. `leave` must be called once it is answered, whatever the answer; more calls do nothing. */
export interface Place {
  /** Resolves when the request may compute. Never rejects; stays pending when the place is left before. */
  readonly turn: Promise<void>;
  leave(): void;
}

export class RequestQueue {
  readonly limits: QueueLimits;
  #active = 0;
  readonly #waiting = new Set<() => void>();
  #whenIdle: (() => void)[] = [];

  constructor(limits: QueueLimits) {
    this.limits = limits;
  }

  /** Requests that have a place. */
  get size(): number {
    return this.#active + this.#waiting.size;
  }

  /** @returns null when every place is taken. */
  enter(): Place | null {
    const { promise, resolve } = Promise.withResolvers<void>();
    if (this.#active < this.limits.active) {
      this.#active += 1;
      resolve();
    } else if (this.#waiting.size < this.limits.waiting) {
      this.#waiting.add(resolve);
    } else {
      return null;
    }
    let left = false;
    const leave = (): void => {
      if (left) return;
      left = true;
      if (!this.#waiting.delete(resolve)) this.#next();
      if (this.size === 0) for (const idle of this.#whenIdle.splice(0)) idle();
    };
    return { turn: promise, leave };
  }

  /** Resolves when no request has a place. */
  idle(): Promise<void> {
    if (this.size === 0) return Promise.resolve();
    return new Promise((resolve) => this.#whenIdle.push(resolve));
  }

  /** Gives a free turn to whoever waits longest. */
  #next(): void {
    const [longest] = this.#waiting;
    if (longest === undefined) {
      this.#active -= 1;
      return;
    }
    this.#waiting.delete(longest);
    longest();
  }
}
