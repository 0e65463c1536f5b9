/** The one prefix cache of an isolate, beside its one engine (loaded-exit.ts): both share the isolate's memory. */
import { PrefixCache } from "../cache/prefix-cache.ts";
import { BlockArchive } from "../cache/block-archive.ts";
import { BLOCK_TTL_SECONDS, settings, type Env, type Settings } from "../env.ts";
import { log } from "../log.ts";
import type { Bundle } from "../model/bundle.ts";
import { LinkMeter } from "../origin/transfer.ts";
import { OriginHolds } from "./origin-holds.ts";

/** What this isolate has seen of its link to the origin, and of its own speed. */
export const shardLink = new LinkMeter();

/** Which blocks need not be sent to the origin. */
export const originHolds = new OriginHolds(BLOCK_TTL_SECONDS * 1_000);

let cache: PrefixCache | null = null;

/** The cache; made at the first call. */
export function shardCache(bundle: Bundle, { blocks: { maxBytes, ttlMs, dtype } }: Settings): PrefixCache {
  cache ??= new PrefixCache({ bundle, maxBytes, ttlMs, dtype });
  return cache;
}

let reported = 0;

/** Blocks that went to make room since the last call. */
export function takeEvicted(): number {
  const evicted = cache?.state.evicted ?? 0;
  const since = evicted - reported;
  reported = evicted;
  return since;
}

/** The cache; null before the first answer. */
export function currentCache(): PrefixCache | null {
  return cache;
}

let archive: BlockArchive | null = null;

/** R2 behind it; null where none is bound. */
export function shardArchive(env: Env): BlockArchive | null {
  if (env.BLOCKS === undefined) return null;
  const onFailure = (error: unknown): void => log("archive.failed", { error: String(error) }, "warn");
  archive ??= new BlockArchive({ bucket: env.BLOCKS, ttlMs: settings(env).archiveTtlMs, onFailure });
  return archive;
}
