/**
 * What began in the last minute, as a value: adding, ending and forgetting give a new window and leave the old one
 * as it was. Entries stand in blocks with their sums, so that no operation walks the whole minute: a tenant at 400
 * requests a second has 24,000 of them.
 */

/** A request that began in the last minute. */
export interface Begun {
  readonly id: string;
  readonly keyId: string;
  readonly at: number;
  /** The hold's tokens while it runs, then those it used. */
  readonly tokens: number;
}

/** Never empty, oldest first. */
interface Block {
  readonly entries: readonly Begun[];
  readonly tokens: number;
  readonly requestsByKey: ReadonlyMap<string, number>;
}

/** Entries of a block: about the square root of a busy minute's, so that blocks are as many as entries in one. */
const BLOCK_SIZE = 128;

export class RateWindow implements Iterable<Begun> {
  readonly #blocks: readonly Block[];

  private constructor(blocks: readonly Block[]) {
    this.#blocks = blocks;
  }

  /** @param begun in any order */
  static of(begun: readonly Begun[]): RateWindow {
    const sorted = begun.toSorted((a, b) => a.at - b.at);
    const blocks: Block[] = [];
    for (let at = 0; at < sorted.length; at += BLOCK_SIZE) blocks.push(blockOf(sorted.slice(at, at + BLOCK_SIZE)));
    return new RateWindow(blocks);
  }

  /** Oldest first. */
  *[Symbol.iterator](): Generator<Begun, void> {
    for (const { entries } of this.#blocks) yield* entries;
  }

  get tokens(): number {
    return this.#blocks.reduce((sum, { tokens }) => sum + tokens, 0);
  }

  /** @param keyId null: of every key */
  requests(keyId: string | null): number {
    return this.#blocks.reduce((sum, block) => sum + requestsIn(block, keyId), 0);
  }

  /** The n-th newest, from 1. @param keyId null: of every key */
  newest(n: number, keyId: string | null): Begun | undefined {
    let left = n;
    for (const block of this.#blocks.toReversed()) {
      const count = requestsIn(block, keyId);
      if (left <= count) return block.entries.filter((entry) => isOf(entry, keyId)).at(-left);
      left -= count;
    }
    return undefined;
  }

  /** @param entry not older than any other */
  add(entry: Begun): RateWindow {
    const last = this.#blocks.at(-1);
    if (last === undefined || last.entries.length >= BLOCK_SIZE)
      return new RateWindow([...this.#blocks, blockOf([entry])]);
    return new RateWindow(this.#blocks.with(-1, blockOf([...last.entries, entry])));
  }

  /** Those that began after an instant. */
  after(instant: number): RateWindow {
    const first = this.#blocks.findIndex(({ entries }) => (entries.at(-1)?.at ?? 0) > instant);
    if (first === -1) return this.#blocks.length === 0 ? this : new RateWindow([]);
    const cut = this.#blocks[first]?.entries.filter(({ at }) => at > instant) ?? [];
    if (first === 0 && cut.length === this.#blocks[0]?.entries.length) return this;
    return new RateWindow([blockOf(cut), ...this.#blocks.slice(first + 1)]);
  }

  /** An entry with other tokens; null: as if it had not begun. One that is not here is no matter. */
  end(id: string, at: number, tokens: number | null): RateWindow {
    const index = this.#blocks.findIndex(
      ({ entries }) => (entries.at(-1)?.at ?? 0) >= at && entries.some((entry) => entry.id === id),
    );
    const entries = this.#blocks[index]?.entries ?? [];
    if (index === -1) return this;
    const changed = entries.flatMap((entry) =>
      entry.id === id ? (tokens === null ? [] : [{ ...entry, tokens }]) : [entry],
    );
    if (changed.length === 0) return new RateWindow(this.#blocks.toSpliced(index, 1));
    return new RateWindow(this.#blocks.with(index, blockOf(changed)));
  }
}

function blockOf(entries: readonly Begun[]): Block {
  const requestsByKey = new Map<string, number>();
  let sum = 0;
  for (const { keyId, tokens } of entries) {
    sum += tokens;
    requestsByKey.set(keyId, (requestsByKey.get(keyId) ?? 0) + 1);
  }
  return { entries, tokens: sum, requestsByKey };
}

const requestsIn = ({ entries, requestsByKey }: Block, keyId: string | null): number =>
  keyId === null ? entries.length : (requestsByKey.get(keyId) ?? 0);

const isOf = (entry: Begun, keyId: string | null): boolean => keyId === null || entry.keyId === keyId;
