/** Which blocks the origin is believed to hold. Where it has forgotten them, it computes them anew: that costs time alone. */
import { type BlockKey, blockName } from "../cache/block-keys.ts";
import { ByteLru } from "../cache/byte-lru.ts";

/** Blocks that are remembered: those of some hundred conversations, about 100 bytes each. */
const MAX_BLOCKS = 4_096;

export class OriginHolds {
  readonly #names: ByteLru<true>;

  /** @param ttlMs milliseconds for which the origin keeps a block */
  constructor(ttlMs: number) {
    this.#names = new ByteLru({ maxBytes: MAX_BLOCKS, ttlMs });
  }

  /** It has them now: it gave them, it is sent them, or it reads a prompt that they are of. */
  note(keys: readonly BlockKey[]): void {
    for (const key of keys.toReversed()) this.#names.put(nameOf(key), true, 1);
  }

  /** How many of the leading ones it holds. */
  leading(keys: readonly BlockKey[]): number {
    const first = keys.findIndex((key) => this.#names.get(nameOf(key)) === undefined);
    return first === -1 ? keys.length : first;
  }
}

/** All layers go together. */
const nameOf = (key: BlockKey): string => blockName(key, 0);
