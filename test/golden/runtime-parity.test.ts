/** The same bundle in workerd and in Node: the same greedy tokens, but for near-ties in W8A8. */
import { afterAll, describe, expect, test } from "vitest";
import type { Engine } from "../../src/model/engine.ts";
import type { LoadResult } from "../worker/fixtures/engine/protocol.ts";
import { type EngineWorker, startEngineWorker } from "../worker/fixtures/engine/start.ts";
import {
  Comparison,
  FLOAT32_LOGIT,
  greedyRun,
  type GreedyToken,
  MAX_FLIP_RATE,
  RUNTIMES_NEAR_TIE_NATS,
} from "./engine-compare.ts";
import { goldenModel, greedyRequest } from "./engine-model.ts";

/** In float32 nothing may differ; of what 8 bits let differ 200 prompts tell little. */
const PROMPTS = { fp32: 200, w8a8: 400 };
const TOKENS = 24;

for (const numerics of ["w8a8", "fp32"] as const) {
  const model = await goldenModel(numerics, PROMPTS[numerics]);
  describe.skipIf(model === null)(numerics, async () => {
    if (model === null) return;
    const node: Engine = await model.load();
    const worker: EngineWorker = await startEngineWorker(model.folder);
    await worker.call<LoadResult>("/load", {});
    afterAll(async () => {
      await worker.stop();
      await node.dispose();
    });

    test.each(node.exits)(`${model.name}, exit %i: ${PROMPTS[numerics]} prompts`, async (exit) => {
      expect(model.prompts).toHaveLength(PROMPTS[numerics]);
      const requests = model.prompts.map((ids) => greedyRequest(model, ids, exit, TOKENS));
      const inWorker = await worker.call<GreedyToken[][]>("/greedy", { requests });
      const comparison = new Comparison();
      for (const [at, request] of requests.entries()) {
        comparison.add(await greedyRun(node, node.newSequence(), request), inWorker[at] ?? []);
      }
      comparison.report(`workerd against Node, ${model.name} ${numerics}, exit ${exit}`);
      if (numerics === "w8a8") {
        expect(comparison.widestFlip).toBeLessThan(RUNTIMES_NEAR_TIE_NATS);
        expect(comparison.flipRate).toBeLessThan(MAX_FLIP_RATE);
      } else {
        expect(comparison.flips).toBe(0);
        expect(comparison.logprobDifference).toBeLessThan(FLOAT32_LOGIT);
      }
    });
  });
}
