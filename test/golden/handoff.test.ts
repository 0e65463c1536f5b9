/** A prompt read up to a shallow exit and resumed at the deepest, against one run that never stopped. */
import { afterAll, describe, expect, test } from "vitest";
import { startNodeEngine } from "../../src/model/node-client.ts";
import { Sequence } from "../../src/model/sequence.ts";
import { decodeHandoff, handoffTarget } from "../../src/origin/handoff-codec.ts";
import type { TokenEvent } from "../../src/generation.ts";
import { startEngineWorker } from "../worker/fixtures/engine/start.ts";
import { Comparison, FLOAT32_LOGIT, greedyRun, MAX_FLIP_RATE, RUNTIMES_NEAR_TIE_NATS } from "./engine-compare.ts";
import { goldenModel, greedyRequest } from "./engine-model.ts";

/** Over the wire: with 8 bits, enough tokens to tell the usual rate of flips from one in 200. */
const PROMPTS = { fp32: 120, w8a8: 400 };
/** Resumed from every exit, bit for bit. */
const EXACT_PROMPTS = 40;
const TOKENS = 24;

for (const numerics of ["w8a8", "fp32"] as const) {
  const model = await goldenModel(numerics, PROMPTS[numerics]);
  describe.skipIf(model === null)(numerics, async () => {
    if (model === null) return;
    const engine = await model.load();
    const [shallow, deepest] = [engine.exits[0] ?? 0, engine.exits.at(-1) ?? 0];
    afterAll(() => engine.dispose());

    test(`${model.name}: within one runtime exactly the same, from every exit`, async () => {
      for (const ids of model.prompts.slice(0, EXACT_PROMPTS)) {
        const request = greedyRequest(model, ids, deepest, TOKENS);
        const expected = await greedyRun(engine, engine.newSequence(), request);
        for (const exit of engine.exits) {
          const sender = engine.newSequence(ids);
          await engine.advance(sender, exit, ids.length);
          const resumed = Sequence.import(engine.bundle, sender.export(exit));
          expect(await greedyRun(engine, resumed, request)).toEqual(expected);
        }
      }
    });

    test(`${model.name}: through the computing thread exactly the same, with usage`, async () => {
      const thread = await startNodeEngine({ directory: model.folder, threads: 1 });
      try {
        const signal = new AbortController().signal;
        for (const ids of model.prompts.slice(0, 20)) {
          const request = greedyRequest(model, ids, deepest, TOKENS);
          const events: TokenEvent[] = [];
          const handoff = await thread.prefill(ids, shallow, signal);
          for await (const event of thread.generate(request, signal, handoff)) events.push(event);
          const tokens = events.flatMap((event) => (event.type === "token" ? [event.id] : []));
          const expected = await greedyRun(engine, engine.newSequence(), request);
          expect(tokens).toEqual(expected.map(({ id }) => id));
          expect(events.at(-1)).toMatchObject({ usage: { prompt_tokens: ids.length, cached_tokens: 0 } });
        }
      } finally {
        await thread.close();
      }
    });

    test(`${model.name}: from workerd at exit ${shallow} to Node at exit ${deepest}, over the wire`, async () => {
      const worker = await startEngineWorker(model.folder);
      const comparison = new Comparison();
      try {
        await worker.call("/load", { exits: [shallow] });
        const target = handoffTarget(engine.bundle, engine.bundle.exits);
        for (const ids of model.prompts) {
          const body = await worker.bytes("/handoff", greedyRequest(model, ids, shallow, TOKENS));
          const { handoff } = decodeHandoff(body, target);
          const request = greedyRequest(model, ids, deepest, TOKENS);
          const expected = await greedyRun(engine, engine.newSequence(), request);
          comparison.add(expected, await greedyRun(engine, Sequence.import(engine.bundle, handoff), request));
        }
      } finally {
        await worker.stop();
      }
      comparison.report(`${model.name} ${numerics}, exit ${shallow} in workerd resumed to ${deepest} in Node`);
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
