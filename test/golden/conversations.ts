/** Random conversations over two tiers that share a prefix cache's blocks, against cold runs. */
import { cachedGenerate } from "../../src/cache/cached-generation.ts";
import type { BlockRef } from "../../src/cache/prefix-cache.ts";
import { blockName } from "../../src/cache/block-keys.ts";
import { type BlockSource, PrefixCache } from "../../src/cache/prefix-cache.ts";
import type { GenerationRequest } from "../../src/generation.ts";
import type { Engine } from "../../src/model/engine.ts";
import { Sequence } from "../../src/model/sequence.ts";
import { decodeHandoff, encodeHandoff, handoffTarget, type WireFormat } from "../../src/origin/handoff-codec.ts";
import { type GreedyToken, greedyRun } from "./engine-compare.ts";
import { type GoldenModel, greedyRequest } from "./engine-model.ts";
import type { StateDtype } from "../../src/state-dtype.ts";

const never = new AbortController().signal;
/** Room for some conversations: eviction is part of the test. */
const CACHE_BYTES = 12e6;

/** Numbers in [0, 1) that follow from a seed (mulberry32). */
export function randomNumbers(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Told of each turn's tokens, cold and with the caches. */
type OnTurn = (cold: GreedyToken[], warm: GreedyToken[], turn: number) => void;

/** A tier: its cache, and where it looks for what it lacks. */
interface Tier {
  readonly cache: PrefixCache;
  readonly sources: readonly BlockSource[];
}

export class Conversations {
  readonly #engine: Engine;
  readonly #model: GoldenModel;
  readonly #random: () => number;
  readonly #wire: WireFormat;
  readonly #edge: Tier;
  readonly #origin: Tier;
  /** Prompt tokens, and those of them that were taken from a cache. */
  prompted = 0;
  cached = 0;

  /** @param dtype of blocks. @param wire of handoffs */
  constructor(engine: Engine, model: GoldenModel, dtype: StateDtype, wire: StateDtype, seed: number) {
    this.#wire = { dtype: wire, kvHeads: engine.bundle.shape.kv_heads };
    this.#engine = engine;
    this.#model = model;
    this.#random = randomNumbers(seed);
    const newCache = () => new PrefixCache({ bundle: engine.bundle, maxBytes: CACHE_BYTES, ttlMs: 1e9, dtype });
    const origin = newCache();
    this.#origin = { cache: origin, sources: [] };
    this.#edge = { cache: newCache(), sources: [{ name: "origin", read: (wanted) => sealedOf(origin, wanted) }] };
  }

  /** One conversation. */
  async converse(turns: number, tokens: number, onTurn: OnTurn) {
    const { prompts } = this.#model;
    const some = () => prompts[Math.floor(this.#random() * prompts.length)] ?? [];
    let ids = [...some()];
    for (let turn = 0; turn < turns; turn++) {
      if (ids.length + tokens >= this.#engine.bundle.shape.context_length) return;
      const exit = this.#engine.exits[Math.floor(this.#random() * this.#engine.exits.length)] ?? 0;
      const request = greedyRequest(this.#model, ids, exit, tokens);
      const cold = await greedyRun(this.#engine, this.#engine.newSequence(), request);
      const warm = await this.#warm(request);
      onTurn(cold, warm, turn);
      ids = [...ids, ...cold.map(({ id }) => id), ...some().slice(0, 8 + Math.floor(this.#random() * 40))];
    }
  }

  /** A tier that is drawn by lot answers; the origin perhaps from what the edge hands over. */
  async #warm(asked: GenerationRequest): Promise<GreedyToken[]> {
    const request = { ...asked, cache: { scope: "acme/0", shared_tokens: 0, continued: true } };
    const way = this.#random();
    if (way < 0.4) return this.#run(this.#edge, this.#engine.newSequence(), request);
    if (way < 0.7) return this.#run(this.#origin, this.#engine.newSequence(), request);
    const shallow = this.#engine.exits[0] ?? 0;
    const sender = this.#engine.newSequence();
    const gate = { afterPrefill: () => "handoff" as const };
    const read = cachedGenerate(this.#engine, this.#edge, sender, { ...request, exit_layer: shallow }, never, gate);
    await read.next();
    const { bundle, exits } = this.#engine;
    const body = encodeHandoff(sender.export(shallow), request, this.#wire);
    const { handoff } = decodeHandoff(body, handoffTarget(bundle, exits));
    return this.#run(this.#origin, Sequence.import(bundle, handoff), request);
  }

  async #run(tier: Tier, sequence: Sequence, request: GenerationRequest): Promise<GreedyToken[]> {
    this.prompted += request.token_ids.length;
    const tokens: GreedyToken[] = [];
    for await (const event of cachedGenerate(this.#engine, tier, sequence, request, never)) {
      if (event.type === "end") {
        this.cached += event.usage.cached_tokens;
        continue;
      }
      const [best, second] = event.top_logprobs ?? [];
      const gap = (best?.logprob ?? 0) - (second?.logprob ?? -Infinity);
      tokens.push({ id: event.id, logprob: event.logprob, gap });
    }
    return tokens;
  }
}

async function sealedOf(cache: PrefixCache, wanted: readonly BlockRef[]): Promise<ReadonlyMap<string, Uint8Array>> {
  const sealed = new Map<string, Uint8Array>();
  for (const ref of wanted) {
    const bytes = await cache.sealed(ref);
    if (bytes !== null) sealed.set(blockName(ref, ref.lastLayer), bytes);
  }
  return sealed;
}
