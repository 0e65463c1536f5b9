/** Conversations over both tiers with their caches, evictions and handoffs: the tokens of cold runs. */
import { afterAll, describe, expect, test } from "vitest";
import { Conversations } from "./conversations.ts";
import { Comparison, MAX_FLIP_RATE, NEAR_TIE_NATS } from "./engine-compare.ts";
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
    const conversations = new Conversations(engine, model, "F32", "F32", 1);
    const [first, later] = [new Comparison(), new Comparison()];
    for (let at = 0; at < CONVERSATIONS; at++) {
      await conversations.converse(TURNS, TOKENS, (cold, warm, turn) => (turn === 0 ? first : later).add(cold, warm));
    }
    first.report(`${model.name} w8a8, ${CONVERSATIONS} first turns with caches`);
    later.report(`${model.name} w8a8, their later turns`);
    const share = conversations.cached / conversations.prompted;
    console.log(`${conversations.prompted} prompt tokens, ${(share * 100).toFixed(1)} % of them taken from a cache`);
    expect(first.flips).toBe(0);
    expect(first.logprobDifference).toBe(0); // of prompts alone, blocks are what a cold run computes, bit for bit
    expect(later.widestFlip).toBeLessThan(NEAR_TIE_NATS); // of answers, what decoding made of their tokens
    expect(later.flipRate).toBeLessThan(MAX_FLIP_RATE);
    expect(share).toBeGreaterThan(0.2);
  });
});
