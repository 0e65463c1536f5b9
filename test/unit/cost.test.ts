import fc from "fast-check";
import { expect, test } from "vitest";
import { gpuCost, PRICES, sortieCost, type Workload } from "../../scripts/cost/model.ts";

const LOAD: Workload = {
  prompts: 1e8,
  promptTokens: 200,
  answerTokens: 100,
  edgeShare: 0.8,
  gatewayCpuMs: 4,
  edgePrefill: 300,
  edgeDecode: 40,
  gpuUsdHour: 2.5,
  gpuPrefill: 20_000,
  gpuDecode: 2_000,
  gpuUse: 0.5,
};

test("each line is what is beyond the plan, at the published price", () => {
  const lines = Object.fromEntries(sortieCost(LOAD).platform.map(({ what, usd }) => [what, usd]));
  expect(lines["plan"]).toBe(5);
  expect(lines["requests"]).toBeCloseTo(90 * 0.3);
  expect(lines["cpuMs"]).toBeCloseTo(370 * 0.02);
  expect(lines["objectRequests"]).toBeCloseTo(499 * 0.15);
  // 1e8 × (200/300 + 0.8 × 100/40) s × 0.128 GB = 34.13 million GB-s, less 0.4
  expect(lines["objectDuration"]).toBeCloseTo((34.1333 - 0.4) * 12.5, 1);
  // 1e8 × 0.2 × (200/20000 + 100/2000) s = 1.2 million GPU seconds, 1.314 million a GPU at half use
  expect(sortieCost(LOAD).gpus).toMatchObject({ amount: 1, usd: 2.5 * 730 });
  expect(gpuCost(LOAD).gpus.amount).toBe(5);
});

test("a small deployment is the plan and nothing more; without an origin there is no GPU", () => {
  const small = sortieCost({ ...LOAD, prompts: 1_000, edgeShare: 1 });
  expect(small.usd).toBe(PRICES.plan);
  expect(small.gpus.amount).toBe(0);
});

test("more prompts never cost less, a larger edge share never more GPUs", () => {
  const share = fc.double({ min: 0, max: 1, noNaN: true });
  fc.assert(
    fc.property(fc.nat(1e9), fc.nat(1e9), share, share, (a, b, x, y) => {
      const cost = (prompts: number, edgeShare: number) => sortieCost({ ...LOAD, prompts, edgeShare });
      expect(cost(Math.max(a, b), x).usd).toBeGreaterThanOrEqual(cost(Math.min(a, b), x).usd);
      expect(cost(a, Math.max(x, y)).gpus.amount).toBeLessThanOrEqual(cost(a, Math.min(x, y)).gpus.amount);
    }),
  );
});
