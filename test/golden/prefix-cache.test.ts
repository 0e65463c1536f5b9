/** Conversations over both tiers with their caches, evictions and handoffs: the very tokens of cold runs. */
import { afterAll, describe, expect, test } from "vitest";
import { Conversations } from "./conversations.ts";
import { Comparison } from "./engine-compare.ts";
import { goldenModel } from "./engine-model.ts";

const CONVERSATIONS = 300;
const TURNS = 3;
const TOKENS = 8;

const model = await goldenModel("w8a8", 200);
describe.skipIf(model === null)("w8a8, blocks in F32", async () => {
  if (model === null) return;
  const engine = await model.load();
  afterAll(() => engine.dispose());

  test(`${CONVERSATIONS} conversations, exits and tiers by lot`, async () => {
    const conversations = new Conversations(engine, model, "F32", 1);
    const comparison = new Comparison();
    for (let at = 0; at < CONVERSATIONS; at++) {
      await conversations.converse(TURNS, TOKENS, (cold, warm) => comparison.add(cold, warm));
    }
    comparison.report(`${model.name} w8a8, ${CONVERSATIONS} conversations with caches`);
    const share = conversations.cached / conversations.prompted;
    console.log(`${conversations.prompted} prompt tokens, ${(share * 100).toFixed(1)} % of them taken from a cache`);
    expect(comparison.flips).toBe(0);
    expect(comparison.logprobDifference).toBe(0);
    expect(share).toBeGreaterThan(0.2);
  });
});
