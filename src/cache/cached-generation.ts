/** The generate loop with a prefix cache around it: what was read before is taken, what is read now is left. */
import type { GenerationRequest, TokenEvent } from "../generation.ts";
import type { Engine } from "../model/engine.ts";
import { generate, type GenerateOptions, type GenerationOutcome } from "../model/generate.ts";
import { blockFloor } from "../model/segment-state.ts";
import type { Sequence } from "../model/sequence.ts";
import type { BlockKey } from "./block-keys.ts";
import type { BlockRef, BlockSource, PrefixCache } from "./prefix-cache.ts";

export interface Cached {
  readonly cache: PrefixCache;
  /** Asked in turn for what memory lacks. */
  readonly sources: readonly BlockSource[];
  /** Told of what memory held: a prefix that was met again. By segment, how many of the leading blocks. */
  readonly onMet?: (keys: readonly BlockKey[], blocks: readonly number[]) => void;
}

/**
 * As `generate`. A request without `cache` reads and leaves nothing.
 * Blocks are left when the prompt is read, so that an equal prompt profits at once.
 */
export async function* cachedGenerate(
  engine: Engine,
  { cache, sources, onMet }: Cached,
  sequence: Sequence,
  request: GenerationRequest,
  signal: AbortSignal,
  options: GenerateOptions = {},
): AsyncGenerator<TokenEvent, GenerationOutcome> {
  const { cache: owner, exit_layer: exit, token_ids: ids } = request;
  if (owner === undefined) return yield* generate(engine, sequence, request, signal, options);
  cache.forgetOlder(owner.scope);
  sequence.append(ids.slice(sequence.length));
  const keys = await cache.keys(ids, owner);
  const held = cache.held(exit, keys);
  if (held.some((blocks) => blocks > 0)) onMet?.(keys, held);
  for (const source of sources) {
    const wanted = cache.missing(exit, keys);
    if (wanted.length > 0 && (owner.continued || source.ofConversations !== true))
      await cache.take(wanted, await source.read(wanted, heldBefore(keys, wanted), signal));
  }
  cache.fill(sequence, exit, keys);
  const events = generate(engine, sequence, request, signal, options);
  try {
    let next = await events.next();
    cache.keep(sequence, exit, keys);
    for (; next.done !== true; next = await events.next()) yield next.value;
    return next.value;
  } finally {
    await events.return?.(undefined as never);
  }
}

/** Key of the last block of which every segment is held. */
function heldBefore(keys: readonly BlockKey[], wanted: readonly BlockRef[]): string | null {
  const first = keys.findIndex(({ key }) => wanted.some((ref) => ref.key === key));
  return keys[first - 1]?.key ?? null;
}

/**
 * Reads an answer's tokens anew, as a prompt is read, up to the last whole block, and keeps the blocks: the next turn of
 * the conversation then finds them. For after the answer's end, when nobody waits.
 */
export async function keepAnswer(
  engine: Engine,
  cache: PrefixCache,
  sequence: Sequence,
  request: GenerationRequest,
  signal: AbortSignal,
): Promise<void> {
  const { cache: owner, exit_layer: exit } = request;
  if (owner === undefined) return;
  const ids = sequence.tokenIds;
  const end = blockFloor(ids.length);
  if (end <= blockFloor(request.token_ids.length)) return; // the answer completed no block
  sequence.retarget(ids);
  await engine.advance(sequence, exit, end, signal);
  cache.keep(sequence, exit, await cache.keys(ids, owner));
}
