/** The origin's prefix cache behind a shard's: after a turn that the origin answered, its blocks are fetched, not computed. */
import { HEADER_BYTES, payloadBytes, sealedDtype } from "../cache/block-codec.ts";
import { blockName } from "../cache/block-keys.ts";
import { blockShape, type BlockRef, type BlockSource } from "../cache/prefix-cache.ts";
import { log } from "../log.ts";
import type { Bundle } from "../model/bundle.ts";
import { BLOCK_TOKENS } from "../model/segment-state.ts";
import { askBlocks, type BlocksClientOptions } from "../origin/blocks-client.ts";
import type { OriginHolds } from "./origin-holds.ts";
import { decideTransfer, type LinkMeter, type TransferMode } from "../origin/transfer.ts";

export interface OriginBlocksOptions extends BlocksClientOptions {
  readonly bundle: Bundle;
  readonly mode: TransferMode;
  /** Of this shard: its link to the origin, and its own prefill rate. */
  readonly link: LinkMeter;
  /** Told of what it has given. */
  readonly holds: OriginHolds;
}

export function originBlocks(options: OriginBlocksOptions): BlockSource {
  const { bundle, mode, link } = options;
  return {
    name: "origin",
    ofConversations: true,
    async read(wanted, held, signal) {
      const exit = Math.max(...wanted.map(({ lastLayer }) => lastLayer));
      const asked = distinct(wanted);
      const layers = bundle.exits.filter((last) => last <= exit);
      const bytes = asked.length * layers.reduce((sum, _, segment) => sum + sealedBytes(bundle, segment, "F32"), 0);
      const decision = decideTransfer(
        {
          bytes,
          tokenLayers: asked.length * BLOCK_TOKENS * exit,
          bandwidth: link.bandwidth,
          tokenLayersPerSecond: link.tokenLayersPerSecond,
          extraMs: link.roundTripMs ?? 0,
        },
        mode,
      );
      if (!decision.move) return new Map();
      const started = Date.now();
      try {
        const body = await askBlocks(options, { exit, names: asked.map(nameOf), held }, signal);
        link.moved(body?.length ?? 0, Date.now() - started);
        const found = body === null ? new Map<string, Uint8Array>() : split(bundle, layers, asked, body);
        options.holds.note(asked.filter((ref) => layers.every((last) => found.has(blockName(ref, last)))));
        log("blocks.fetched", { asked: asked.length, found: found.size, bytes: body?.length ?? 0, ...decision });
        return found;
      } catch (error) {
        signal.throwIfAborted();
        log("blocks.failed", { error: String(error) }, "warn");
        return new Map();
      }
    },
  };
}

const nameOf = ({ scope, key }: BlockRef): string => `${scope}/${key}`;

/** The blocks wanted of any segment, in order: each segment lacks an end of the same list. */
function distinct(wanted: readonly BlockRef[]): BlockRef[] {
  const lists = new Map<number, BlockRef[]>();
  for (const ref of wanted) lists.set(ref.lastLayer, [...(lists.get(ref.lastLayer) ?? []), ref]);
  return [...lists.values()].reduce((longest, list) => (list.length > longest.length ? list : longest), []);
}

function sealedBytes(bundle: Bundle, segment: number, dtype: Parameters<typeof payloadBytes>[1]): number {
  return HEADER_BYTES + payloadBytes(blockShape(bundle, segment), dtype);
}

/** Sealed blocks by name, as long as their sizes make sense; whether each is what it says is proven later. */
function split(bundle: Bundle, layers: readonly number[], asked: readonly BlockRef[], body: Uint8Array) {
  const found = new Map<string, Uint8Array>();
  let offset = 0;
  for (const ref of asked) {
    for (const [segment, lastLayer] of layers.entries()) {
      const dtype = sealedDtype(body.subarray(offset));
      if (dtype === null) return found;
      const end = offset + sealedBytes(bundle, segment, dtype);
      if (end > body.length) return found;
      found.set(blockName(ref, lastLayer), body.subarray(offset, end));
      offset = end;
    }
  }
  return found;
}
