/** Several sources read at once, their values in the order they come. A leaf. */

/** Opens a source; what it needs is taken only then. */
export type Opener<T> = () => Promise<AsyncIterable<T>>;

interface Arrival<T> {
  readonly at: number;
  readonly source: AsyncIterator<T>;
  readonly result: IteratorResult<T, unknown>;
}

/**
 * Yields `[index of the source, value]`. A source is asked for its next value only when its last one was taken, so
 * each of the others is at most one value ahead of the reader. Leaving early closes every source that is open or
 * opening.
 * @param atOnce sources read at the same time; the others are opened as these end
 * @param abandon called before sources that have not ended are closed: must make those that wait give up
 * @throws what a source throws, after the others were closed
 */
export async function* interleave<T>(
  openers: readonly Opener<T>[],
  atOnce: number,
  abandon: () => void,
): AsyncGenerator<[index: number, value: T], void> {
  const waiting = openers.map((open, at) => ({ open, at }));
  const arrivals = new Map<number, Promise<Arrival<T>>>();
  const opened: Promise<AsyncIterator<T>>[] = [];

  const next = async (at: number, source: AsyncIterator<T>): Promise<Arrival<T>> => ({
    at,
    source,
    result: await source.next(),
  });
  function fill(): void {
    for (const { open, at } of waiting.splice(0, atOnce - arrivals.size)) {
      const source = open().then((events) => events[Symbol.asyncIterator]());
      opened.push(source);
      arrivals.set(
        at,
        source.then((iterator) => next(at, iterator)),
      );
    }
  }

  let ended = false;
  try {
    for (fill(); arrivals.size > 0; fill()) {
      const { at, source, result } = await Promise.race(arrivals.values());
      arrivals.delete(at); // and set anew behind the others: all get their turn
      if (result.done === true) continue;
      yield [at, result.value];
      arrivals.set(at, next(at, source));
    }
    ended = true;
  } finally {
    if (!ended) abandon();
    await Promise.allSettled(opened.map(async (source) => (await source).return?.()));
  }
}
