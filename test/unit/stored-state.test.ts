/** What a shard gives of a conversation that goes on at the origin, and what it does not. */
import { describe, expect, test } from "vitest";
import { cachedGenerate } from "../../src/cache/cached-generation.ts";
import { PrefixCache } from "../../src/cache/prefix-cache.ts";
import { OriginHolds } from "../../src/edge/origin-holds.ts";
import { storedState } from "../../src/edge/stored-state.ts";
import { type GenerationRequest, GREEDY } from "../../src/generation.ts";
import { loadEngine } from "../../src/model/engine.ts";
import { mockModel } from "./model-mock.ts";

const { bundle, source, runtime } = mockModel({ rounding: 1e-3, contextLength: 400 });
const engine = await loadEngine({ bundle, source, runtime });
const never = new AbortController().signal;
const ids = Array.from({ length: 100 }, (_, at) => at % 17);

const asking = (token_ids: number[], exit_layer: number, scope = "acme/0"): GenerationRequest => ({
  request_id: "r",
  token_ids,
  answer_tokens: 0,
  exit_layer,
  max_tokens: 1,
  sampling: GREEDY,
  top_logprobs: 0,
  stop_token_ids: [],
  cache: { scope, shared_tokens: 0, continued: true },
});

async function shard(...read: readonly GenerationRequest[]) {
  const cache = new PrefixCache({ bundle, maxBytes: 1e9, ttlMs: 1e9, dtype: "F32" });
  for (const request of read) {
    await Array.fromAsync(cachedGenerate(engine, { cache, sources: [] }, engine.newSequence(), request, never));
  }
  return { cache, origin: new OriginHolds(1e9) };
}

describe("stored state", () => {
  test("is that of a run of the same tokens, whole blocks of it, with all ids of the prompt", async () => {
    const { cache, origin } = await shard(asking(ids, 3));
    const longer = [...ids, 1, 2, 3];
    const state = await storedState(cache, origin, asking(longer, 4));
    const sequence = engine.newSequence(longer);
    await engine.advance(sequence, 3, 96, never);
    expect(state).toEqual({ handoff: sequence.export(3), spared: 96 });
    expect(state?.handoff).toMatchObject({ exitLayer: 3, positions: 96 });
    expect([...(state?.handoff.inputIds ?? [])]).toEqual(longer);
  });

  test("is of the exit that spares most, and of none deeper than asked for", async () => {
    const { cache } = await shard(asking(ids, 1), asking(ids.slice(0, 40), 3));
    const of = async (exit: number) => (await storedState(cache, new OriginHolds(1e9), asking(ids, exit)))?.handoff;
    expect(await of(4)).toMatchObject({ exitLayer: 1, positions: 96 }); // 96 · 1 layers, and 32 · 3
    expect(await of(1)).toMatchObject({ exitLayer: 1, positions: 96 });
    const { cache: deeper } = await shard(asking(ids, 1), asking(ids.slice(0, 70), 3));
    expect((await storedState(deeper, new OriginHolds(1e9), asking(ids, 4)))?.handoff).toMatchObject({ exitLayer: 3 });
  });

  test("is not given where the origin has it already, or another tenant left it, or nobody did", async () => {
    const { cache, origin } = await shard(asking(ids, 3));
    expect(await storedState(cache, origin, asking(ids, 4, "umbrella/0"))).toBeNull();
    expect(await storedState(cache, origin, asking(ids.slice(1), 4))).toBeNull();
    const { cache: _, ...uncached } = asking(ids, 4);
    expect(await storedState(cache, origin, uncached)).toBeNull();
    expect(await storedState(cache, origin, asking(ids, 4))).not.toBeNull();
    expect(await storedState(cache, origin, asking(ids, 4))).toBeNull(); // it has read them by now
  });

  test("counts as spared what the origin lacks", async () => {
    const { cache, origin } = await shard(asking(ids, 3));
    origin.note(await cache.keys(ids.slice(0, 64), { scope: "acme/0", shared_tokens: 0 }));
    expect(await storedState(cache, origin, asking(ids, 4))).toMatchObject({ spared: 32, handoff: { positions: 96 } });
  });

  test("goes with an older epoch of its tenant", async () => {
    const { cache, origin } = await shard(asking(ids, 3));
    expect(await storedState(cache, origin, asking(ids, 4, "acme/1"))).toBeNull();
    expect(cache.state.blocks).toBe(0);
  });
});
