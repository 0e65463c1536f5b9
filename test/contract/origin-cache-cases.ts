/** The part of the conformance suite that is about the prefix cache: docs/protocol.md holds every origin to it. */
import { describe, expect, it } from "vitest";
import { openBlock } from "../../src/cache/block-codec.ts";
import { type BlockKey, blockKeys } from "../../src/cache/block-keys.ts";
import { blockShape } from "../../src/cache/prefix-cache.ts";
import type { CacheScope, GenerationRequest, TokenEvent } from "../../src/generation.ts";
import type { Bundle } from "../../src/model/bundle.ts";
import { BLOCK_TOKENS } from "../../src/model/segment-state.ts";
import { askBlocks } from "../../src/origin/blocks-client.ts";
import { MAX_BLOCKS, type OriginInfo } from "../../src/origin/protocol.ts";
import { type OriginUnderTest, type Token, tokensOf } from "./origin-harness.ts";

/** Tokens of two whole blocks and some more. */
const LENGTH = 70;

export interface CacheCases {
  readonly origin: OriginUnderTest;
  readonly info: OriginInfo;
  readonly bundle: Bundle;
  readonly asking: (change: Partial<GenerationRequest>) => GenerationRequest;
  readonly answer: (request: GenerationRequest) => Promise<TokenEvent[]>;
  readonly refusal: (response: Promise<Response>) => Promise<[number, string]>;
  readonly expectSameTokens: (got: readonly Token[], wanted: readonly Token[]) => void;
}

/** @param get of what the suite has set up */
export function describeCache(get: () => CacheCases): void {
  /** Ids that no other case has asked with. */
  let made = 0;
  const fresh = (length = LENGTH): number[] => {
    const { vocab_size } = get().bundle.shape;
    made += 1;
    return Array.from({ length }, (_, i) => Math.floor(vocab_size / 4) + ((i * 31 + made * 7) % (vocab_size >> 1)));
  };
  const scoped = (scope: string, shared_tokens = 0): CacheScope => ({ scope, shared_tokens, continued: true });

  /** How many prompt tokens were taken from the cache; first token and end must agree. */
  async function cached(change: Partial<GenerationRequest>): Promise<number> {
    const events = await get().answer(get().asking(change));
    const end = events.at(-1);
    if (end?.type !== "end") throw new Error("the answer has no end");
    expect(tokensOf(events)[0]?.cached_tokens).toBe(end.usage.cached_tokens);
    return end.usage.cached_tokens;
  }

  const keysOf = (ids: readonly number[], cache: CacheScope): Promise<BlockKey[]> => blockKeys(ids, get().info, cache);
  const names = (keys: readonly BlockKey[]): string[] => keys.map(({ scope, key }) => `${scope}/${key}`);
  const pathOf = (exit: number | string, blocks: readonly string[]): string =>
    `/v1/blocks?exit=${exit}${blocks.map((block) => `&block=${encodeURIComponent(block)}`).join("")}`;

  describe("prefix cache", () => {
    it("spares what was read before, and changes no answer", async () => {
      const { asking, answer, expectSameTokens } = get();
      const request = asking({ token_ids: fresh() });
      const cold = tokensOf(await answer(request));
      const cache = scoped("acme/0");
      expect(await cached({ ...request, cache })).toBe(0);
      expect(await cached({ ...request, cache })).toBe(2 * BLOCK_TOKENS);
      expectSameTokens(tokensOf(await answer({ ...request, cache })), cold);
      expect(await cached(request)).toBe(0); // it names no cache
    });

    it("keeps tenants and epochs apart, and gives everybody what is marked as everybody's", async () => {
      const change = { token_ids: fresh(), max_tokens: 1 };
      await cached({ ...change, cache: scoped("acme/0", BLOCK_TOKENS) });
      expect(await cached({ ...change, cache: scoped("acme-2/0") })).toBe(0);
      expect(await cached({ ...change, cache: scoped("acme-2/0", BLOCK_TOKENS) })).toBe(BLOCK_TOKENS);
      expect(await cached({ ...change, cache: scoped("acme/1", BLOCK_TOKENS) })).toBe(BLOCK_TOKENS);
      await cached({ ...change, cache: scoped("acme/1", BLOCK_TOKENS) });
      const old = names(await keysOf(change.token_ids, scoped("acme/0"))).slice(0, 2);
      expect((await get().origin.get(pathOf(get().info.exits[0]!, old))).status).toBe(404);
    });

    it("finds an answer's tokens in the next turn", async () => {
      const { asking, answer } = get();
      const cache = scoped("acme/2");
      const request = asking({ token_ids: fresh(50), cache });
      const tokens = tokensOf(await answer(request)).map(({ id }) => id);
      const turn = { token_ids: [...request.token_ids, ...tokens, ...fresh(10)], max_tokens: 1, cache };
      await expect.poll(() => cached({ ...turn, max_tokens: 1 })).toBe(2 * BLOCK_TOKENS);
    });

    it("tells its blocks: whole, signed, of every segment up to an exit", async () => {
      const { origin, info, bundle, answer, asking } = get();
      const cache = scoped("acme/2");
      const ids = fresh();
      await answer(asking({ token_ids: ids, max_tokens: 1, cache }));
      const keys = await keysOf([...ids, ...fresh(2 * BLOCK_TOKENS)], cache);
      const layers = info.exits.slice(0, 2);
      const exit = layers.at(-1)!;
      const question = { exit, names: names(keys), held: null };
      const body = await askBlocks({ url: origin.url, secret: origin.secret }, question, AbortSignal.timeout(5_000));
      let at = 0;
      for (const { key } of keys.slice(0, 2)) {
        for (const [segment, lastLayer] of layers.entries()) {
          const shape = blockShape(bundle, segment);
          const bytes = 80 + 4 * BLOCK_TOKENS * (shape.width + 2 * shape.layers * shape.heads * shape.headDim);
          expect(await openBlock(body!.subarray(at, at + bytes), { key, lastLayer }, shape)).not.toBeNull();
          at += bytes;
        }
      }
      expect(body).toHaveLength(at); // of the third block it says nothing
      const response = await origin.get(pathOf(exit, question.names));
      expect([response.headers.get("etag"), response.headers.get("content-type")]).toEqual([
        `"${keys[1]!.key}"`,
        "application/vnd.sortie.blocks",
      ]);
    });

    it("says 304 or 404 where it holds nothing, and 400 to what is no question", async () => {
      const { origin, info, refusal } = get();
      const [unknown] = names(await keysOf(fresh(BLOCK_TOKENS), scoped("acme/0")));
      const [exit, path] = [info.exits[0]!, pathOf(info.exits[0]!, [unknown!])];
      expect(await refusal(origin.get(path))).toEqual([404, "blocks_unknown"]);
      const headers = { ...origin.sign("GET", path, new Uint8Array(0)), "if-none-match": `"${"ab".repeat(32)}"` };
      const unchanged = await fetch(origin.url + path, { headers });
      expect([unchanged.status, await unchanged.text()]).toEqual([304, ""]);
      const many = Array.from({ length: MAX_BLOCKS + 1 }, () => unknown!);
      const wrong = [[], many, ["acme/0"], [`../${unknown}`], [`Acme/0/${"0".repeat(64)}`], [`${unknown}/3`]];
      for (const blocks of wrong) {
        expect(await refusal(origin.get(pathOf(exit, blocks)))).toEqual([400, "request_invalid"]);
      }
      expect(await refusal(origin.get(pathOf("x", [unknown!])))).toEqual([400, "request_invalid"]);
      expect(await refusal(origin.get(pathOf(info.exits.at(-1)! + 1, [unknown!])))).toEqual([400, "exit_unknown"]);
      expect(await refusal(fetch(origin.url + path))).toEqual([401, "signature_missing"]);
    });
  });
}
