/** The one prefix cache of an isolate, beside its one engine (loaded-exit.ts): both share the isolate's memory. */
import { PrefixCache } from "../cache/prefix-cache.ts";
import type { Settings } from "../env.ts";
import type { Bundle } from "../model/bundle.ts";
import { LinkMeter } from "../origin/transfer.ts";

/** What this isolate has seen of its link to the origin, and of its own speed. */
export const shardLink = new LinkMeter();

let cache: PrefixCache | null = null;

/** The cache; made at the first call. */
export function shardCache(bundle: Bundle, { blocks: { maxBytes, ttlMs, dtype } }: Settings): PrefixCache {
  cache ??= new PrefixCache({ bundle, maxBytes, ttlMs, dtype });
  return cache;
}

/** What it holds; null before the first call. */
export function shardCacheState(): PrefixCache["state"] | null {
  return cache?.state ?? null;
}
