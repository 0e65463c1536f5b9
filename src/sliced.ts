/** Work that can be interrupted: a generator that yields what it has done since it last did. A leaf. */

/** Units of work: about as many take a millisecond (`npm run bench:tokenizer` measures what a unit is worth). */
export const UNITS_PER_MS = 1_000;

/** Yields units of work, at most a few thousand at once, and returns the work's result. */
export type Sliced<T> = Generator<number, T, void>;

/** Does all of it at once: where nobody waits. */
export function finish<T>(work: Sliced<T>): T {
  for (;;) {
    const step = work.next();
    if (step.done === true) return step.value;
  }
}
