/** Admission control of one shard: so many answers at once, so many waiting, the rest go elsewhere. */

/** Answers that share the engine round-robin: more would only make each of them slower. */
export const MAX_ACTIVE = 4;
/** Requests that may wait for a place: about one answer's time each, so beyond this the origin is faster. */
export const MAX_WAITING = 8;

/** Gives the place back; calling it twice does nothing. */
export type Release = () => void;

export class Admission {
  readonly #maxActive: number;
  readonly #maxWaiting: number;
  readonly #waiting: (() => void)[] = [];
  #active = 0;

  constructor(maxActive = MAX_ACTIVE, maxWaiting = MAX_WAITING) {
    this.#maxActive = maxActive;
    this.#maxWaiting = maxWaiting;
  }

  get active(): number {
    return this.#active;
  }

  get waiting(): number {
    return this.#waiting.length;
  }

  /**
   * Waits for a place.
   * @returns null at once when the queue is full
   * @throws the signal's reason when it aborts while waiting
   */
  async enter(signal: AbortSignal): Promise<Release | null> {
    signal.throwIfAborted();
    if (this.#active < this.#maxActive) {
      this.#active += 1;
    } else {
      if (this.#waiting.length >= this.#maxWaiting) return null;
      await this.#turn(signal);
    }
    let held = true;
    return () => {
      if (!held) return;
      held = false;
      const next = this.#waiting.shift();
      if (next) next();
      else this.#active -= 1;
    };
  }

  /** Resolves when a leaving request passes its place on. */
  #turn(signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const proceed = (): void => {
        signal.removeEventListener("abort", abandon);
        resolve();
      };
      const abandon = (): void => {
        this.#waiting.splice(this.#waiting.indexOf(proceed), 1);
        reject(signal.reason as Error);
      };
      this.#waiting.push(proceed);
      signal.addEventListener("abort", abandon, { once: true });
    });
  }
}
