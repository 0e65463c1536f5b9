/** What a prompt found in a shard's prefix cache, as counters of the deployment. Pure. */
import type { BlockUse } from "../cache/cached-generation.ts";
import type { Count } from "../telemetry/counters.ts";

/** @param evicted blocks that went to make room since the last call */
export function blockCounts({ asked, memory, behind }: BlockUse, evicted: number): Count[] {
  const counts: Count[] = [
    { name: "blocks", label: "asked", count: asked },
    { name: "blocks", label: "memory", count: memory },
    { name: "blocks", label: "evicted", count: evicted },
    ...behind.flatMap(({ name, blocks, bytes }): Count[] => [
      { name: "blocks", label: name, count: blocks },
      { name: "block_bytes", label: name, count: bytes },
    ]),
  ];
  return counts.filter(({ count }) => count > 0);
}
