/** The merges of a byte-pair encoding, found by the two ids they join: a hash table in flat memory. A leaf. */

/** Numbers of an entry: left id, right id, rank, the id of both. */
const ENTRY = 4;
const FREE = -1;
/** Knuth's multiplicative constant, 2^32 over the golden ratio, and the one that murmur3 mixes with. */
const [SPREAD, MIX] = [0x9e3779b1, 0x85ebca6b];

export interface Merge {
  readonly left: number;
  readonly right: number;
  readonly joined: number;
}

export class MergeTable {
  readonly #entries: Int32Array;
  readonly #mask: number;

  /** @param merges by rank; of equal pairs the last counts */
  constructor(merges: readonly Merge[]) {
    const slots = 2 ** Math.ceil(Math.log2(Math.max(merges.length * 2, 2)));
    this.#mask = slots - 1;
    this.#entries = new Int32Array(slots * ENTRY).fill(FREE);
    for (const [rank, { left, right, joined }] of merges.entries()) {
      this.#entries.set([left, right, rank, joined], this.#slot(left, right));
    }
  }

  /** Where a pair's entry is, for {@link rank} and {@link joined}; -1: no merge joins it. Symbols below 0 never join. */
  find(left: number, right: number): number {
    if (left < 0 || right < 0) return -1;
    const slot = this.#slot(left, right);
    return this.#entries[slot] === FREE ? -1 : slot;
  }

  rank(entry: number): number {
    return this.#entries[entry + 2] ?? FREE;
  }

  joined(entry: number): number {
    return this.#entries[entry + 3] ?? FREE;
  }

  /** The pair's entry, or the free one where it would be. */
  #slot(left: number, right: number): number {
    let hash = Math.imul(left, SPREAD) ^ Math.imul(right, MIX);
    hash ^= hash >>> 15;
    for (let at = hash & this.#mask; ; at = (at + 1) & this.#mask) {
      const slot = at * ENTRY;
      const found = this.#entries[slot];
      if (found === FREE || (found === left && this.#entries[slot + 1] === right)) return slot;
    }
  }
}
