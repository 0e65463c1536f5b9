/** What a shard holds of a conversation that goes on at the origin: the state of its first layers, to be resumed there. */
import type { PrefixCache } from "../cache/prefix-cache.ts";
import type { GenerationRequest } from "../generation.ts";
import type { Handoff } from "../handoff.ts";
import { BLOCK_TOKENS } from "../model/segment-state.ts";
import { Sequence } from "../model/sequence.ts";
import type { OriginHolds } from "./origin-holds.ts";

export interface StoredState {
  readonly handoff: Handoff;
  /** Tokens of it that the origin would have to compute: what it is believed to hold is not among them. */
  readonly spared: number;
}

/**
 * The exit's blocks that spare the origin most layers, in memory alone: what lies in R2 would have to be waited for.
 *
 * @param origin is told that it will have the whole prompt
 * @returns null where nothing would be spared
 */
export async function storedState(
  cache: PrefixCache,
  origin: OriginHolds,
  { cache: owner, token_ids: ids, exit_layer }: GenerationRequest,
): Promise<StoredState | null> {
  if (owner === undefined) return null;
  cache.forgetOlder(owner.scope);
  const keys = await cache.keys(ids, owner);
  const known = origin.leading(keys);
  origin.note(keys);
  const offers = cache.bundle.exits
    .filter((exit) => exit <= exit_layer)
    .map((exit) => ({ exit, blocks: Math.min(...cache.held(exit, keys)) }))
    .toSorted((a, b) => (b.blocks - known) * b.exit - (a.blocks - known) * a.exit);
  const [best] = offers;
  if (best === undefined || best.blocks <= known) return null;
  const sequence = new Sequence(cache.bundle);
  sequence.append(ids);
  cache.fill(sequence, best.exit, keys.slice(0, best.blocks));
  return { handoff: sequence.export(best.exit), spared: (best.blocks - known) * BLOCK_TOKENS };
}
