/**
 * Blocks in R2, behind every shard's memory. Four blocks that follow one another are one object, so that a prompt of 768
 * tokens is looked up in the six connections that a Worker may wait on at once: one round trip.
 */
import { HEADER_BYTES, sealedLabel } from "./block-codec.ts";
import { type BlockKey, blockName } from "./block-keys.ts";
import type { BlockRef, BlockSource, PrefixCache } from "./prefix-cache.ts";

/** Blocks an object: 128 tokens. */
export const GROUP_BLOCKS = 4;
/** Names of objects written by this isolate that are remembered: of some hundred prefixes, 100 bytes each. */
const MAX_WRITTEN = 4_096;
/** Objects that one list of a purge names: R2's own bound, and of one delete. */
const LIST_OBJECTS = 1_000;

export interface ArchiveOptions {
  readonly bucket: R2Bucket;
  /** Milliseconds for which an object is good. */
  readonly ttlMs: number;
  /** Told of what went wrong; nothing depends on it. */
  readonly onFailure: (error: unknown) => void;
}

export class BlockArchive implements BlockSource {
  readonly name = "archive";
  readonly #options: ArchiveOptions;
  readonly #written = new Set<string>();

  constructor(options: ArchiveOptions) {
    this.#options = options;
  }

  /** Groups of which a block is wanted, all at once. */
  async read(wanted: readonly BlockRef[]): Promise<ReadonlyMap<string, Uint8Array>> {
    const found = new Map<string, Uint8Array>();
    const groups = wanted.filter(({ index }) => index % GROUP_BLOCKS === GROUP_BLOCKS - 1);
    await Promise.all(
      groups.map(async (last) => {
        const bytes = await this.#get(objectName(last, last.lastLayer));
        if (bytes === null || bytes.length % GROUP_BLOCKS !== 0) return;
        const size = bytes.length / GROUP_BLOCKS;
        for (let at = 0; size > HEADER_BYTES && at < bytes.length; at += size) {
          const sealed = bytes.subarray(at, at + size);
          const { key } = sealedLabel(sealed);
          const ref = wanted.find((each) => each.key === key && each.lastLayer === last.lastLayer);
          if (ref !== undefined) found.set(blockName(ref, ref.lastLayer), sealed);
        }
      }),
    );
    return found;
  }

  /** Writes the whole groups among the first `blocks` of a prefix that was met again, those not written before. */
  async write(cache: PrefixCache, keys: readonly BlockKey[], lastLayer: number, blocks: number): Promise<void> {
    for (let end = GROUP_BLOCKS; end <= blocks; end += GROUP_BLOCKS) {
      const [group, last] = [keys.slice(end - GROUP_BLOCKS, end), keys[end - 1]];
      if (last === undefined) return;
      const name = objectName(last, lastLayer);
      if (this.#written.has(name)) continue;
      const sealed: Uint8Array<ArrayBuffer>[] = [];
      for (const key of group) {
        const block = await cache.sealed({ ...key, lastLayer });
        if (block !== null) sealed.push(block);
      }
      if (sealed.length < GROUP_BLOCKS) continue; // one was evicted meanwhile
      if (this.#written.size >= MAX_WRITTEN) this.#written.clear();
      this.#written.add(name);
      await this.#put(name, new Blob(sealed));
    }
  }

  /** Deletes every object of a tenant, whatever its epoch. */
  async purge(tenant: string): Promise<number> {
    const { bucket } = this.#options;
    let purged = 0;
    for (;;) {
      const { objects } = await bucket.list({ prefix: `blocks/${tenant}/`, limit: LIST_OBJECTS });
      if (objects.length === 0) return purged;
      await bucket.delete(objects.map(({ key }) => key));
      purged += objects.length;
    }
  }

  async #get(name: string): Promise<Uint8Array | null> {
    const { bucket, onFailure } = this.#options;
    try {
      const object = await bucket.get(name);
      if (object === null) return null;
      if (Number(object.customMetadata?.["expires"]) > Date.now()) return new Uint8Array(await object.arrayBuffer());
      await object.body.cancel();
      await bucket.delete(name);
    } catch (error) {
      onFailure(error);
    }
    return null;
  }

  async #put(name: string, body: Blob): Promise<void> {
    const { bucket, ttlMs, onFailure } = this.#options;
    try {
      await bucket.put(name, await body.arrayBuffer(), { customMetadata: { expires: String(Date.now() + ttlMs) } });
    } catch (error) {
      this.#written.delete(name);
      onFailure(error);
    }
  }
}

function objectName(last: BlockKey, lastLayer: number): string {
  return `blocks/${blockName(last, lastLayer)}`;
}
