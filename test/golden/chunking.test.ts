/** A prompt fed at once and in pieces: what the states hold must not depend on how it arrived. */
import { afterAll, describe, expect, test } from "vitest";
import type { Engine } from "../../src/model/engine.ts";
import type { Sequence } from "../../src/model/sequence.ts";
import { Comparison, FLOAT32_LOGIT, greedyRun, MAX_FLIP_RATE, NEAR_TIE_NATS } from "./engine-compare.ts";
import { goldenModel, greedyRequest } from "./engine-model.ts";

const PROMPTS = 40;
/** Of them, where the very same is asked for and no share is measured. */
const EXACT_PROMPTS = 16;
const TOKENS = 24;
const PIECES = [1, 7, 32];

/** Feeds `ids` in pieces; the unfinished block is held back until the prompt ends. */
async function fed(engine: Engine, ids: readonly number[], piece: number, exit: number): Promise<Sequence> {
  const sequence = engine.newSequence();
  for (let at = 0; at < ids.length; at += piece) {
    sequence.append(ids.slice(at, at + piece));
    await engine.feed(sequence, exit);
  }
  return sequence;
}

/** Computes each piece as soon as it is there, whatever the blocks: what decoding does, and nobody does to a prompt. */
async function rushed(engine: Engine, ids: readonly number[], piece: number, exit: number): Promise<Sequence> {
  const sequence = engine.newSequence();
  for (let at = 0; at < ids.length; at += piece) {
    sequence.append(ids.slice(at, at + piece));
    await engine.advance(sequence, exit, sequence.length);
  }
  return sequence;
}

for (const numerics of ["w8a8", "fp32"] as const) {
  const model = await goldenModel(numerics, PROMPTS);
  describe.skipIf(model === null)(numerics, async () => {
    if (model === null) return;
    const engine = await model.load();
    afterAll(() => engine.dispose());

    test.each(PIECES)("fed in pieces of %i: the very same state and tokens at every exit", async (piece) => {
      for (const ids of model.prompts.slice(0, EXACT_PROMPTS)) {
        for (const exit of engine.exits) {
          const whole = engine.newSequence(ids);
          await engine.advance(whole, exit, ids.length);
          const pieces = await fed(engine, ids, piece, exit);
          await engine.advance(pieces, exit, ids.length);
          expect(pieces.export(exit)).toEqual(whole.export(exit));
          const request = greedyRequest(model, ids, exit, 4);
          expect(await greedyRun(engine, pieces, request)).toEqual(await greedyRun(engine, whole, request));
        }
      }
    });

    test.each(PIECES)("computed in pieces of %i: the same but for rounding", async (piece) => {
      const comparison = new Comparison();
      let logitDifference = 0;
      for (const ids of model.prompts) {
        for (const exit of engine.exits) {
          const whole = engine.newSequence(ids);
          await engine.advance(whole, exit, ids.length);
          const pieces = await rushed(engine, ids, piece, exit);
          const expected = await engine.logits(whole, exit, [ids.length - 1]);
          const actual = await engine.logits(pieces, exit, [ids.length - 1]);
          logitDifference = Math.max(
            logitDifference,
            ...expected.map((logit, id) => Math.abs(logit - (actual[id] ?? NaN))),
          );
          const request = greedyRequest(model, ids, exit, TOKENS);
          comparison.add(await greedyRun(engine, whole, request), await greedyRun(engine, pieces, request));
        }
      }
      comparison.report(
        `${model.name} ${numerics}, computed in pieces of ${piece}, |Δlogit| ≤ ${logitDifference.toExponential(1)}`,
      );
      if (numerics === "w8a8") {
        expect(comparison.widestFlip).toBeLessThan(NEAR_TIE_NATS);
        expect(comparison.flipRate).toBeLessThan(MAX_FLIP_RATE);
      } else {
        expect(comparison.flips).toBe(0);
        expect(logitDifference).toBeLessThan(FLOAT32_LOGIT);
      }
    });
  });
}
