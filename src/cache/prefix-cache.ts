/**
 * Blocks of earlier prompts, in memory and in the stores behind it. A sequence takes from here what it would compute
 * otherwise, and leaves here what it has computed: whole blocks that do not depend on how their tokens arrived.
 */
import type { CacheScope } from "../generation.ts";
import type { Bundle } from "../model/bundle.ts";
import { BLOCK_TOKENS } from "../model/segment-state.ts";
import type { Sequence } from "../model/sequence.ts";
import { type BlockShape, openBlock, packBlock, type PackedBlock, sealBlock, unpackBlock } from "./block-codec.ts";
import { type BlockKey, blockKeys, blockName } from "./block-keys.ts";
import { ByteLru } from "./byte-lru.ts";
import type { StateDtype } from "../state-dtype.ts";

/** One block of one segment, as stores are asked for it. */
export interface BlockRef extends BlockKey {
  readonly lastLayer: number;
  /** Of the prompt's blocks, from 0. */
  readonly index: number;
}

/** A store behind the memory. It may be wrong, slow or gone: what it gives is proven before it is used. */
export interface BlockSource {
  /** For counters. */
  readonly name: "archive" | "origin";
  /** Asked only for prompts that go on a conversation. */
  readonly ofConversations?: boolean;
  /**
   * @param wanted of each segment the blocks that follow those that memory holds
   * @param held key of the block before the first of them; null: none is held
   * @returns sealed blocks by `blockName`, as many as it has. Throws nothing but the signal's reason.
   */
  read(wanted: readonly BlockRef[], held: string | null, signal: AbortSignal): Promise<ReadonlyMap<string, Uint8Array>>;
}

export interface PrefixCacheOptions {
  readonly bundle: Bundle;
  /** Bytes of blocks in memory. */
  readonly maxBytes: number;
  /** Milliseconds after which a block is computed anew. */
  readonly ttlMs: number;
  /** How blocks are stored. F32 changes no answer. */
  readonly dtype: StateDtype;
  /** Default `Date.now`. */
  readonly now?: () => number;
}

export class PrefixCache {
  readonly bundle: Bundle;
  readonly #memory: ByteLru<PackedBlock>;
  readonly #dtype: StateDtype;

  constructor({ bundle, maxBytes, ttlMs, dtype, now }: PrefixCacheOptions) {
    this.bundle = bundle;
    this.#dtype = dtype;
    this.#memory = new ByteLru({ maxBytes, ttlMs, ...(now && { now }) });
  }

  /** Bytes and blocks held, and blocks that went to make room. */
  get state(): { readonly bytes: number; readonly blocks: number; readonly evicted: number } {
    return { bytes: this.#memory.bytes, blocks: this.#memory.size, evicted: this.#memory.evicted };
  }

  /** Keys of the whole blocks of `ids`. @param known those of its beginning */
  keys(
    ids: readonly number[],
    scope: Pick<CacheScope, "scope" | "shared_tokens">,
    known: readonly BlockKey[] = [],
  ): Promise<BlockKey[]> {
    return blockKeys(ids, this.bundle, scope, known);
  }

  /**
   * Gives a sequence the blocks that follow what it holds of layers 1..exit, segment by segment.
   *
   * @param keys of the sequence's blocks
   * @returns how many blocks each segment took
   */
  fill(sequence: Sequence, exit: number, keys: readonly BlockKey[]): number[] {
    const taken: string[] = [];
    const counts: number[] = [];
    for (const [segment, lastLayer] of this.#segments(exit)) {
      const before = taken.length;
      for (let index = sequence.computed(segment) / BLOCK_TOKENS; index < keys.length; index++) {
        const key = keys[index];
        if (key === undefined) break; // a handoff that ends inside a block
        if (segment > 0 && sequence.computed(segment - 1) < (index + 1) * BLOCK_TOKENS) break;
        const name = blockName(key, lastLayer);
        const block = this.#memory.get(name);
        if (block === undefined) break;
        sequence.store(segment, BLOCK_TOKENS, unpackBlock(block, this.#shape(segment)));
        taken.push(name);
      }
      counts.push(taken.length - before);
    }
    // Without its beginning a prefix is worth nothing: let the end of one be forgotten first.
    for (const name of taken.toReversed()) this.#memory.get(name);
    return counts;
  }

  /** Keeps the whole blocks of layers 1..exit that memory does not hold; copies them. Of foreign arithmetic, none. */
  keep(sequence: Sequence, exit: number, keys: readonly BlockKey[]): void {
    if (sequence.isForeign) return;
    for (const [segment, lastLayer] of this.#segments(exit).toReversed()) {
      const whole = Math.min(Math.floor(sequence.computed(segment) / BLOCK_TOKENS), keys.length);
      for (let index = whole - 1; index >= 0; index--) {
        const name = blockName(keys[index]!, lastLayer);
        if (index * BLOCK_TOKENS < sequence.hiddenFrom(segment) || this.#memory.get(name) !== undefined) continue;
        this.#put(name, packBlock(sequence.block(segment, index), this.#shape(segment), this.#dtype));
      }
    }
  }

  /** By segment of layers 1..exit, how many of the leading blocks memory holds. */
  held(exit: number, keys: readonly BlockKey[]): number[] {
    return this.#segments(exit).map(([, lastLayer]) => {
      const first = keys.findIndex((key) => this.#memory.get(blockName(key, lastLayer)) === undefined);
      return first === -1 ? keys.length : first;
    });
  }

  /** The blocks of layers 1..exit that memory does not hold and that follow those it does. */
  missing(exit: number, keys: readonly BlockKey[]): BlockRef[] {
    const held = this.held(exit, keys);
    return this.#segments(exit).flatMap(([segment, lastLayer]) => {
      const from = held[segment] ?? 0;
      return keys.slice(from).map((key, at) => ({ ...key, lastLayer, index: from + at }));
    });
  }

  /** Takes sealed blocks into memory, those that prove to be what was wanted. @returns how many */
  async take(wanted: readonly BlockRef[], sealed: ReadonlyMap<string, Uint8Array>): Promise<number> {
    let taken = 0;
    for (const ref of wanted.toReversed()) {
      const bytes = sealed.get(blockName(ref, ref.lastLayer));
      const segment = this.bundle.exits.indexOf(ref.lastLayer);
      if (bytes === undefined || segment < 0) continue;
      const block = await openBlock(bytes, ref, this.#shape(segment));
      if (block === null) continue;
      this.#put(blockName(ref, ref.lastLayer), block);
      taken += 1;
    }
    return taken;
  }

  /** A block that memory holds, sealed; null: it does not. */
  async sealed(ref: Pick<BlockRef, "scope" | "key" | "lastLayer">): Promise<Uint8Array<ArrayBuffer> | null> {
    const block = this.#memory.get(blockName(ref, ref.lastLayer));
    return block === undefined ? null : sealBlock(block, ref);
  }

  /** Forgets what earlier epochs of a tenant's cache left. @param scope `acme/3` forgets `acme/0` to `acme/2` */
  forgetOlder(scope: string): void {
    const [tenant = "", epoch] = scope.split("/");
    this.#memory.deleteWhere((name) => {
      const [owner, own] = name.split("/");
      return owner === tenant && Number(own) < Number(epoch);
    });
  }

  #put(name: string, block: PackedBlock): void {
    this.#memory.put(name, block, block.payload.length);
  }

  /** Segments of layers 1..exit, each with its last layer. */
  #segments(exit: number): [number, number][] {
    return this.bundle.exits.flatMap((last, segment): [number, number][] => (last <= exit ? [[segment, last]] : []));
  }

  #shape(segment: number): BlockShape {
    return blockShape(this.bundle, segment);
  }
}

/** @throws RangeError for a segment that the bundle does not have */
export function blockShape({ shape, segments }: Bundle, segment: number): BlockShape {
  const layers = segments[segment];
  if (layers === undefined) throw new RangeError(`segment ${segment} of ${segments.length}`);
  return {
    width: shape.hidden_size,
    heads: shape.kv_heads,
    headDim: shape.head_dim,
    layers: layers.last_layer - layers.first_layer + 1,
  };
}
