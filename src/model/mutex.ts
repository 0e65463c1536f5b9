/**
 * A first-come, first-served lock. Held per engine step, it makes answers interleave round-robin: each loop that wants
 * a step queues once, so nobody gets a second step before everyone waiting had one.
 */
export class Mutex {
  #tail: Promise<void> = Promise.resolve();

  /** Runs `step` when every earlier caller is done. `step` must await nothing but computation: see engine.ts. */
  async run<T>(step: () => Promise<T>): Promise<T> {
    const before = this.#tail;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#tail = promise;
    await before;
    try {
      return await step();
    } finally {
      resolve();
    }
  }
}
