/** Async iteration that frees what it holds. A leaf. */

/**
 * A generator whose `return` also runs `close`. A generator that was never asked for its first value skips its own
 * `finally`, so whatever it would have freed is freed here.
 * @param close idempotent
 */
export function closing<T>(events: AsyncGenerator<T, void>, close: () => Promise<unknown>): AsyncIterableIterator<T> {
  return leaving(events, async () => {
    await events.return();
    await close();
  });
}

/** A generator whose `return` runs `leave` in place of its own. */
export function leaving<T>(events: AsyncGenerator<T, void>, leave: () => Promise<unknown>): AsyncIterableIterator<T> {
  return {
    [Symbol.asyncIterator]() {
      return this;
    },
    next: () => events.next(),
    async return() {
      await leave();
      return { done: true, value: undefined };
    },
  };
}
