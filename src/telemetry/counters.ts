/** Requests as counters: what the operator's page adds up by the hour. Pure. */
import { outputTokens, perTokenMs, routeParts, type RequestRecord } from "./request-event.ts";

/** What is counted; `label` says which one. */
export const COUNTED = [
  "requests", // by ending
  "exits", // by the exit and tier that spoke last
  "gates", // by the gate that decided last, and its reason
  "cascades", // by checkpoint, range of exits, quality target, deciding gate and exit: for drift
  "cache", // by x-sortie-cache
  "errors", // by status and code
  "tokens", // output, by exit
  "prompt_tokens", // read, cached
  "blocks", // of prompts in the shards' prefix caches: asked; found in memory, archive, origin; evicted
  "block_bytes", // moved to a shard from archive, origin
  "cost", // micro-dollars: charged, full_depth
  "first_token_ms", // histogram
  "per_token_ms", // histogram
  "duration_ms", // histogram
] as const;
export type Counted = (typeof COUNTED)[number];

export interface Count {
  readonly name: Counted;
  readonly label: string;
  readonly count: number;
}

/** Buckets a doubling: a percentile read from them is at most a fifth too high. */
const BUCKETS_A_DOUBLING = 4;

/** Index of the histogram's bucket: the smallest n with `value ≤ 2^(n/4)`. */
export const bucketOf = (value: number): number => Math.ceil(BUCKETS_A_DOUBLING * Math.log2(Math.max(value, 1)));
/** The bucket's upper end. */
export const bucketEnd = (bucket: number): number => 2 ** (bucket / BUCKETS_A_DOUBLING);

/** Every counter that one request moves. */
export function countsOf(record: RequestRecord): Count[] {
  if (record.ending === "refused") {
    return [
      { name: "requests", label: "refused", count: 1 },
      { name: "errors", label: `${record.status} ${record.code}`, count: 1 },
    ];
  }
  const { gate, reason, target } = routeParts(record.route);
  const counts: Count[] = [
    { name: "requests", label: record.ending, count: 1 },
    { name: "exits", label: `${record.exit} ${record.tier}`, count: 1 },
    { name: "gates", label: `${gate} ${reason}`.trim(), count: 1 },
    { name: "prompt_tokens", label: "read", count: record.inputTokens - record.cachedTokens },
    { name: "prompt_tokens", label: "cached", count: record.cachedTokens },
    { name: "cost", label: "charged", count: record.cost },
    { name: "cost", label: "full_depth", count: record.fullDepthCost },
    { name: "duration_ms", label: String(bucketOf(record.durationMs)), count: 1 },
  ];
  if (target !== null) {
    const label = `${record.fingerprint} ${target} ${gate} ${record.exit}`;
    counts.push({ name: "cascades", label, count: 1 });
  }
  if (record.cache !== null) counts.push({ name: "cache", label: record.cache, count: 1 });
  for (const [exit, tokens] of Object.entries(record.tokensByExit))
    counts.push({ name: "tokens", label: exit, count: tokens });
  if (record.firstTokenMs !== null)
    counts.push({ name: "first_token_ms", label: String(bucketOf(record.firstTokenMs)), count: 1 });
  const perToken = perTokenMs(record);
  if (perToken !== null && outputTokens(record) > 1)
    counts.push({ name: "per_token_ms", label: String(bucketOf(perToken)), count: 1 });
  return counts.filter(({ count }) => count > 0);
}

/** Sums of counters that are the same. */
export function summed(counts: Iterable<Count>): Count[] {
  const sums = new Map<string, Count>();
  for (const { name, label, count } of counts) {
    const at = `${name} ${label}`;
    sums.set(at, { name, label, count: (sums.get(at)?.count ?? 0) + count });
  }
  return [...sums.values()];
}

/**
 * Percentile of a histogram.
 * @param buckets counts by bucket index
 * @param share 0 to 1
 * @returns the end of the bucket it lies in; null without any
 */
export function percentile(buckets: Readonly<Record<string, number>>, share: number): number | null {
  const sorted = Object.entries(buckets)
    .map(([bucket, count]) => ({ bucket: Number(bucket), count }))
    .toSorted((a, b) => a.bucket - b.bucket);
  const total = sorted.reduce((sum, { count }) => sum + count, 0);
  let seen = 0;
  for (const { bucket, count } of sorted) {
    seen += count;
    if (seen >= share * total) return bucketEnd(bucket);
  }
  return null;
}
