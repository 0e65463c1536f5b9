/** Blocks taken from a cache change nothing, whatever was written, evicted, corrupted and read before. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { blockName, type BlockKey } from "../../src/cache/block-keys.ts";
import { cachedGenerate } from "../../src/cache/cached-generation.ts";
import { PrefixCache } from "../../src/cache/prefix-cache.ts";
import { type GenerationRequest, GREEDY } from "../../src/generation.ts";
import { loadEngine } from "../../src/model/engine.ts";
import { Sequence } from "../../src/model/sequence.ts";
import { mockModel } from "./model-mock.ts";

/** Kernels whose result depends on the chunk's shape: what is not computed in aligned blocks shows. */
const { bundle, source, runtime, runs } = mockModel({ rounding: 1e-3, contextLength: 400 });
const engine = await loadEngine({ bundle, source, runtime });

/** Bytes of a block of all segments of the mock, in F32: [32, 4] hidden states a segment, [32, 2] keys and values a layer. */
const BLOCK_BYTES = 4 * 32 * (3 * 4 + 4 * 2 * 2);
const never = new AbortController().signal;
const newCache = (maxBytes: number) => new PrefixCache({ bundle, maxBytes, ttlMs: 1e9, dtype: "F32" });
const owner = (scope: string) => ({ scope, shared_tokens: 0 });

/** Prompts that share beginnings of up to five blocks. */
const promptArbitrary = fc
  .tuple(fc.nat(2), fc.integer({ min: 0, max: 5 }), fc.array(fc.nat(16), { minLength: 1, maxLength: 70 }))
  .map(([kind, blocks, rest]) => [...Array.from({ length: 32 * blocks }, (_, at) => (at * (kind + 3)) % 17), ...rest]);
const exitArbitrary = fc.constantFrom(...bundle.exits);

async function cold(ids: readonly number[], exit: number) {
  const sequence = engine.newSequence(ids);
  await engine.advance(sequence, exit, ids.length, never);
  return sequence.export(exit);
}

/** One prompt, read with the cache; what it computed is left there. */
async function warm(cache: PrefixCache, ids: readonly number[], exit: number, scope = "acme/0") {
  const keys = await cache.keys(ids, owner(scope));
  const sequence = engine.newSequence(ids);
  const taken = cache.fill(sequence, exit, keys).reduce((sum, blocks) => sum + blocks, 0);
  await engine.advance(sequence, exit, ids.length, never);
  cache.keep(sequence, exit, keys);
  return { state: sequence.export(exit), taken, keys };
}

async function sealedAll(cache: PrefixCache, keys: readonly BlockKey[]) {
  const sealed = new Map<string, Uint8Array>();
  for (const key of keys) {
    for (const lastLayer of bundle.exits) {
      const bytes = await cache.sealed({ ...key, lastLayer });
      if (bytes !== null) sealed.set(blockName(key, lastLayer), bytes);
    }
  }
  return sealed;
}

describe("a prefix cache", () => {
  test("write, evict, corrupt and read in any order: the state is the one of a cold run", async () => {
    const moveArbitrary = fc.record({
      ids: promptArbitrary,
      exit: exitArbitrary,
      /** Before the prompt is read: nothing, or another cache's blocks are offered, some of them damaged. */
      offered: fc.constantFrom("nothing", "whole", "damaged"),
      at: fc.nat(),
    });
    await fc.assert(
      fc.asyncProperty(
        fc.array(moveArbitrary, { minLength: 1, maxLength: 8 }),
        fc.integer({ min: 0, max: 12 }),
        async (moves, blocks) => {
          const cache = newCache(blocks * BLOCK_BYTES);
          const other = newCache(1e9);
          for (const { ids, exit, offered, at } of moves) {
            if (offered !== "nothing") {
              const { keys } = await warm(other, ids, exit);
              const sealed = await sealedAll(other, keys);
              if (offered === "damaged") for (const bytes of sealed.values()) bytes[at % bytes.length]! ^= 1;
              const taken = await cache.take(cache.missing(exit, keys), sealed);
              if (offered === "damaged") expect(taken).toBe(0);
            }
            expect((await warm(cache, ids, exit)).state).toEqual(await cold(ids, exit));
            expect(cache.state.bytes).toBeLessThanOrEqual(blocks * BLOCK_BYTES);
          }
        },
      ),
      { numRuns: 60 },
    );
  });

  test("serves every deeper exit, which computes its own layers alone", async () => {
    const cache = newCache(1e9);
    const ids = Array.from({ length: 70 }, (_, at) => at % 17);
    await warm(cache, ids, 1);
    runs.length = 0;
    const { state, taken } = await warm(cache, ids, 4);
    const computed = runs.filter(({ segment }) => segment === 0).map(({ start }) => start);
    expect(computed).toEqual([64]); // the half-filled block alone
    expect(runs.filter(({ segment }) => segment === 2).map(({ start }) => start)).toEqual([0, 32, 64]);
    expect(taken).toBe(2);
    expect(state).toEqual(await cold(ids, 4));
    runs.length = 0;
    expect((await warm(cache, ids, 3)).taken).toBe(4);
    expect(runs.every(({ start }) => start === 64)).toBe(true);
  });

  test("never gives one tenant what another left", async () => {
    await fc.assert(
      fc.asyncProperty(promptArbitrary, async (ids) => {
        const cache = newCache(1e9);
        await warm(cache, ids, 4, "acme/0");
        expect((await warm(cache, ids, 4, "umbrella/0")).taken).toBe(0);
        expect((await warm(cache, ids, 4, "acme/1")).taken).toBe(0);
      }),
      { numRuns: 20 },
    );
  });

  test("forgets the older epochs of a tenant, and of no other", async () => {
    const cache = newCache(1e9);
    const ids = Array.from({ length: 40 }, () => 3);
    for (const scope of ["acme/0", "acme/1", "umbrella/0"]) await warm(cache, ids, 1, scope);
    cache.forgetOlder("acme/1");
    expect(cache.state.blocks).toBe(2);
    expect((await warm(cache, ids, 1, "umbrella/0")).taken).toBe(1);
    expect((await warm(cache, ids, 1, "acme/1")).taken).toBe(1);
  });

  test("keeps the beginning of a prefix longest", async () => {
    const cache = newCache(3 * BLOCK_BYTES);
    const ids = Array.from({ length: 32 * 6 }, (_, at) => at % 17);
    await warm(cache, ids, 4);
    expect((await warm(cache, ids, 4)).taken).toBe(9);
  });

  const request = (token_ids: number[], exit_layer: number, max_tokens: number): GenerationRequest => ({
    request_id: "r",
    token_ids,
    answer_tokens: 0,
    exit_layer,
    max_tokens,
    sampling: GREEDY,
    top_logprobs: 0,
    stop_token_ids: [],
    cache: { ...owner("acme/0"), continued: false },
  });
  const answer = (cache: PrefixCache, asked: GenerationRequest, sequence = engine.newSequence()) =>
    cachedGenerate(engine, { cache, sources: [] }, sequence, asked, never);

  test("an answer's tokens are blocks as decoding made them; a deeper exit fills its layers in whole blocks", async () => {
    const cache = newCache(1e9);
    const prompt = Array.from({ length: 40 }, (_, at) => at % 17);
    const sequence = engine.newSequence();
    await Array.fromAsync(answer(cache, request(prompt, 1, 60), sequence));
    expect(cache.state.blocks).toBe(3); // 99 positions have a state: the last token has none
    const next = [...sequence.tokenIds, 3, 5];
    runs.length = 0;
    const events = await Array.fromAsync(answer(cache, request(next, 4, 1)));
    expect(events.at(-1)).toMatchObject({ usage: { cached_tokens: 0 } }); // the deeper layers were computed
    expect(runs.filter(({ segment }) => segment === 0).map(({ start }) => start)).toEqual([96]);
    for (const segment of [1, 2]) {
      expect(runs.filter((run) => run.segment === segment).map(({ start }) => start)).toEqual([0, 32, 64, 96]);
    }
    const again = await Array.fromAsync(answer(cache, request(next, 4, 1)));
    expect(again.at(-1)).toMatchObject({ usage: { cached_tokens: 96 } });
  });

  test("keeps what was read and said of an answer that is left", async () => {
    const cache = newCache(1e9);
    const events = answer(cache, request([1, 2, 3], 1, 100));
    for (let read = 0; read < 65; read++) await events.next();
    await events.return(undefined as never);
    expect(cache.state.blocks).toBe(2);
  });

  test("keeps the segments whose hidden states a handoff brings, and nothing of a foreign arithmetic", async () => {
    const ids = Array.from({ length: 70 }, (_, at) => at % 17);
    const whole = await cold(ids, 3);
    for (const [handoff, blocks] of [
      [whole, 6],
      [{ ...whole, innerHidden: new Map<number, Float32Array>() }, 4],
      [{ ...whole, numerics: "bf16" as const }, 0],
    ] as const) {
      const cache = newCache(1e9);
      await Array.fromAsync(answer(cache, request(ids, 4, 1), Sequence.import(bundle, handoff, ["bf16"])));
      expect(cache.state.blocks).toBe(blocks);
    }
  });
});
