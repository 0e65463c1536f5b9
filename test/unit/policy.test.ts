/** The gates and the exit choice: pure, so every promise is a property. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { areaUnderCurve, fitLogistic, fitPlatt, predict, quantise } from "../../scripts/calibrate/fit.ts";
import { chooseThresholds, play, type Labelled } from "../../scripts/calibrate/thresholds.ts";
import { sigmoid } from "../../src/policy/logistic.ts";
import { scorePrefill } from "../../src/policy/prefill-gate.ts";
import { scorePrompt } from "../../src/policy/prompt-gate.ts";
import { decideByPrefill, decideByPrompt, type Circumstances } from "../../src/policy/route.ts";
import { parseRouter, ROUTER_FORMAT, type RouterFile } from "../../src/policy/router.ts";
import { modelIds, selectModel } from "../../src/policy/selection.ts";
import { promptFeatures, words } from "../../src/policy/text-features.ts";

const exits = [3, 6, 9, 12];
const now: Circumstances = { exits, edgeExits: [3, 6], originConfigured: true };
const user = (content: string) => [{ role: "user" as const, content }];

describe("model ids", () => {
  const served = { name: "tiny", exits };
  test("every id that is listed is understood", () => {
    for (const id of modelIds(served)) expect(selectModel(id, served).ok).toBe(true);
  });
  test.each(["", "tiny:", "tiny:exit-", "tiny:exit-03", "other", "tiny:auto:auto", "tiny:exit-3x", "Tiny"])(
    "%j is no model",
    (id) => expect(selectModel(id, served)).toEqual({ ok: false, reason: "unknown_model" }),
  );
  test("a depth that is no exit is told apart", () => {
    expect(selectModel("tiny:exit-4", served)).toEqual({ ok: false, reason: "unknown_exit" });
  });
});

describe("prompt features", () => {
  test("numbers are shapes, repeats are counted, the vector has length 1", () => {
    expect(words("What is 17 + 25?")).toEqual(["what", "is", "##", "+", "##", "?"]);
    fc.assert(
      fc.property(fc.string({ maxLength: 300 }), (text) => {
        const vector = promptFeatures(user(text), 1024);
        const square = [...vector.values()].reduce((sum, value) => sum + value * value, 0);
        for (const bucket of vector.keys()) expect(bucket).toBeLessThan(1024);
        expect(vector.size === 0 || Math.abs(square - 1) < 1e-9).toBe(true);
      }),
    );
  });
  test("more of the same is another vector", () => {
    const short = promptFeatures(user("A points to B."), 4096);
    const long = promptFeatures(user("A points to B. A points to B. A points to B."), 4096);
    expect([...long.keys()].some((bucket) => !short.has(bucket))).toBe(true);
  });
});

describe("the exit choice", () => {
  const scores = fc.array(fc.double({ min: 0, max: 1, noNaN: true }), { minLength: 4, maxLength: 4 });
  test("takes the first exit that reaches the threshold, on the tier that has it", () => {
    fc.assert(
      fc.property(scores, fc.double({ min: 0, max: 1, noNaN: true }), (given, threshold) => {
        const decision = decideByPrompt({ kind: "auto" }, given, threshold, now);
        const first = given.findIndex((score) => score >= threshold);
        expect(decision.exit).toBe(first === -1 ? 12 : exits[first]);
        expect(decision.tier).toBe(decision.exit <= 6 ? "edge" : "origin");
        if (decision.escalateTo !== null) expect(decision.escalateTo).toBeGreaterThan(6);
      }),
    );
  });
  test("a fixed exit is kept, whatever the scores", () => {
    const decision = decideByPrompt({ kind: "fixed", exit: 9 }, [1, 1, 1, 1], 0.5, now);
    expect(decision).toMatchObject({ exit: 9, tier: "origin", escalateTo: null });
  });
  test("without an origin the deepest edge exit answers what is hard, and says why", () => {
    const alone = { ...now, originConfigured: false };
    const decision = decideByPrompt({ kind: "auto" }, [0, 0, 0, 0], 0.5, alone);
    expect(decision).toMatchObject({ exit: 6, tier: "edge", escalateTo: null });
    expect(decision.reason).toContain("no-origin");
  });
  test("gate 2 hands off below its threshold and not at it", () => {
    expect(decideByPrefill(0.49, 0.5).handoff).toBe(true);
    expect(decideByPrefill(0.5, 0.5).handoff).toBe(false);
  });
});

describe("router.json", () => {
  const file: RouterFile = {
    format: ROUTER_FORMAT,
    fingerprint: "0123456789abcdef",
    exits,
    quality_target: 0.95,
    prompt: {
      buckets: 8,
      weights: Buffer.from(new Int8Array(32).fill(-3).buffer).toString("base64"),
      scale: [1, 1, 1, 1],
      bias: [0, 0, 0, 0],
    },
    prefill: [{ exit: 3, weights: [1, 0, 0, 0], bias: 0 }],
    thresholds: { prompt: 0.5, prefill: 0.5 },
    report: {},
  };
  const bundle = { fingerprint: "0123456789abcdef", exits };
  test("weights are signed, scores are probabilities", () => {
    const router = parseRouter(file, bundle);
    expect(router.promptWeights[0]).toBe(-3);
    for (const score of scorePrompt(router, user("hello there"))) expect(score).toBeLessThan(0.5);
    const first = { top1: 0.9, margin: 0.8, entropy: 0.1 };
    expect(scorePrefill(router.prefill.get(3)!, 0.7, first)).toBeCloseTo(0.7);
  });
  test("another checkpoint's router is refused", () => {
    expect(() => parseRouter(file, { ...bundle, fingerprint: "ffffffffffffffff" })).toThrow("npm run calibrate");
    expect(() => parseRouter(file, { ...bundle, exits: [3, 12] })).toThrow("exits");
    const short = { ...file, prompt: { ...file.prompt, weights: "AAAA" } };
    expect(() => parseRouter(short, bundle)).toThrow("weights");
  });
});

describe("calibration", () => {
  test("a logistic regression finds the word that decides", () => {
    const texts = Array.from({ length: 200 }, (_, i) => (i % 2 === 0 ? `easy thing ${i}` : `hard thing ${i}`));
    const rows = texts.map((text) => promptFeatures(user(text), 256));
    const labels = texts.map((text) => text.startsWith("easy"));
    const model = fitLogistic(rows.slice(0, 100), labels.slice(0, 100), 256, 1e-4);
    const scores = rows.slice(100).map((row) => predict(model, row));
    expect(areaUnderCurve(scores, labels.slice(100))).toBeGreaterThan(0.99);
    const { values, scale } = quantise(model.weights);
    for (const [index, weight] of model.weights.entries()) {
      expect(Math.abs((values[index] ?? 0) * scale - weight)).toBeLessThanOrEqual(scale / 2 + 1e-12);
    }
  });
  test("Platt scaling turns overconfident scores into shares", () => {
    const scores = Array.from({ length: 400 }, (_, i) => (i % 2 === 0 ? 5 : -5));
    const labels = scores.map((score, i) => (i % 10 < 2 ? score < 0 : score > 0)); // right four times in five
    const { slope, offset } = fitPlatt(scores, labels);
    expect(sigmoid(5 * slope + offset)).toBeCloseTo(0.8, 1);
  });
  test("the area under the curve counts pairs", () => {
    expect(areaUnderCurve([1, 2, 3, 4], [false, false, true, true])).toBe(1);
    expect(areaUnderCurve([1, 1, 1, 1], [false, true, false, true])).toBe(0.5);
  });
  test("chosen thresholds keep the target and cost no more than always going deep", () => {
    const probability = fc.double({ min: 0, max: 1, noNaN: true });
    const row: fc.Arbitrary<Labelled> = fc.record({
      promptScores: fc.array(probability, { minLength: 4, maxLength: 4 }),
      prefillScores: fc.array(probability, { minLength: 4, maxLength: 4 }),
      right: fc.array(fc.boolean(), { minLength: 4, maxLength: 4 }),
    });
    fc.assert(
      fc.property(fc.array(row, { minLength: 1, maxLength: 30 }), (rows) => {
        const { thresholds, outcome } = chooseThresholds(rows, 0.9, now);
        const deepest = rows.filter(({ right }) => right[3] === true).length / rows.length;
        expect(outcome).toEqual(play(rows, thresholds, now));
        expect(outcome.quality).toBeGreaterThanOrEqual(0.9 * deepest - 1e-12);
        expect(outcome.cost).toBeLessThanOrEqual(1);
      }),
      { numRuns: 20 },
    );
  });
});
