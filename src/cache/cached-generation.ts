/** The generate loop with a prefix cache around it: what was read before is taken, what is read now is left. */
import type { GenerationRequest, TokenEvent } from "../generation.ts";
import type { Engine } from "../model/engine.ts";
import { generate, type GenerateOptions, type GenerationOutcome } from "../model/generate.ts";
import { blockFloor } from "../model/segment-state.ts";
import type { Sequence } from "../model/sequence.ts";
import type { BlockKey } from "./block-keys.ts";
import type { BlockRef, BlockSource, PrefixCache } from "./prefix-cache.ts";

/** What one prompt found; blocks are those of one segment. */
export interface BlockUse {
  /** Whole blocks of the prompt, in all segments up to the exit. */
  readonly asked: number;
  /** Those that memory held. */
  readonly memory: number;
  /** What the stores behind it gave, and was proven. */
  readonly behind: readonly { readonly name: BlockSource["name"]; readonly blocks: number; readonly bytes: number }[];
}

export interface Cached {
  readonly cache: PrefixCache;
  /** Asked in turn for what memory lacks. */
  readonly sources: readonly BlockSource[];
  /** Told of what memory held: a prefix that was met again. By segment, how many of the leading blocks. */
  readonly onMet?: (keys: readonly BlockKey[], blocks: readonly number[]) => void;
  /** Told once a prompt, before it is read. */
  readonly onUse?: (use: BlockUse) => void;
}

/**
 * As `generate`. A request without `cache` reads and leaves nothing.
 * Blocks are left as soon as they are whole: the prompt's before the first token, so that an equal prompt profits at
 * once, the answer's as decoding has made them, so that the next turn finds them even if this one is left.
 */
export async function* cachedGenerate(
  engine: Engine,
  { cache, sources, onMet, onUse }: Cached,
  sequence: Sequence,
  request: GenerationRequest,
  signal: AbortSignal,
  options: GenerateOptions = {},
): AsyncGenerator<TokenEvent, GenerationOutcome> {
  const { cache: owner, exit_layer: exit, token_ids: ids } = request;
  if (owner === undefined) return yield* generate(engine, sequence, request, signal, options);
  cache.forgetOlder(owner.scope);
  sequence.append(ids.slice(sequence.length));
  let keys = await cache.keys(ids, owner);
  const held = cache.held(exit, keys);
  if (held.some((blocks) => blocks > 0)) onMet?.(keys, held);
  const behind: BlockUse["behind"][number][] = [];
  for (const source of sources) {
    const wanted = cache.missing(exit, keys);
    if (wanted.length === 0 || (source.ofConversations === true && !owner.continued)) continue;
    const sealed = await source.read(wanted, heldBefore(keys, wanted), signal);
    const bytes = [...sealed.values()].reduce((sum, block) => sum + block.length, 0);
    behind.push({ name: source.name, blocks: await cache.take(wanted, sealed), bytes });
  }
  onUse?.({ asked: keys.length * held.length, memory: held.reduce((sum, blocks) => sum + blocks, 0), behind });
  cache.fill(sequence, exit, keys);
  const events = generate(engine, sequence, request, signal, options);
  let left = -1;
  try {
    for (let next = await events.next(); ; next = await events.next()) {
      const whole = blockFloor(sequence.computed(0));
      if (whole > left) {
        keys = await cache.keys(sequence.tokenIds.slice(0, whole), owner, keys);
        cache.keep(sequence, exit, keys);
        left = whole;
      }
      if (next.done === true) return next.value;
      yield next.value;
    }
  } finally {
    await events.return?.(undefined as never);
  }
}

/** Key of the last block of which every segment is held. */
function heldBefore(keys: readonly BlockKey[], wanted: readonly BlockRef[]): string | null {
  const first = keys.findIndex(({ key }) => wanted.some((ref) => ref.key === key));
  return keys[first - 1]?.key ?? null;
}
