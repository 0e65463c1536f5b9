/** Work that can be interrupted: a generator that yields what it has done since it last did. A leaf. */

/** Units of work: about as many take a millisecond (`npm run bench:tokenizer` measures what a unit is worth). */
export const UNITS_PER_MS = 1_000;

/**
 * Yields units of work, done since it last did or about to be done, and returns the work's result. Between two yields
 * a few thousand units pass at the most, unless something cannot be interrupted: that is announced before it is done.
 */
export type Sliced<T> = Generator<number, T, void>;

/** Does all of it at once: where nobody waits. */
export function finish<T>(work: Sliced<T>): T {
  for (;;) {
    const step = work.next();
    if (step.done === true) return step.value;
  }
}
