/** Calibration: the fits, the threshold search and the intervals behind `npm run calibrate`. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { interval, ratioOf, resamples } from "../../scripts/calibrate/bootstrap.ts";
import {
  areaUnderCurve,
  crossFit,
  fitCalibrated,
  fitLogistic,
  fitPlatt,
  predict,
  quantise,
} from "../../scripts/calibrate/fit.ts";
import { decodeLabels, encodeLabels } from "../../scripts/calibrate/label-codec.ts";
import { ended, play, type Seen } from "../../scripts/calibrate/play.ts";
import { minimise } from "../../scripts/calibrate/lbfgs.ts";
import { randomFrom } from "../../scripts/calibrate/random.ts";
import { reliability } from "../../scripts/calibrate/reliability.ts";
import { chooseCascades, QUALITIES } from "../../scripts/calibrate/thresholds.ts";
import { sigmoid } from "../../src/policy/logistic.ts";
import { cascadeSchema } from "../../src/policy/targets.ts";
import { promptFeatures } from "../../src/policy/text-features.ts";

const user = (content: string) => [{ role: "user" as const, content }];

describe("fitting", () => {
  const texts = Array.from({ length: 200 }, (_, i) => (i % 2 === 0 ? `easy thing ${i}` : `hard thing ${i}`));
  const rows = texts.map((text) => promptFeatures(user(text), 256));
  const labels = texts.map((text) => text.startsWith("easy"));

  test("the minimiser finds where a stretched bowl is lowest", () => {
    fc.assert(
      fc.property(
        fc.array(
          fc.record({ at: fc.double({ min: -9, max: 9, noNaN: true }), steep: fc.integer({ min: 1, max: 1000 }) }),
          {
            minLength: 1,
            maxLength: 20,
          },
        ),
        (bowl) => {
          const found = minimise((x, gradient) => {
            let value = 0;
            for (const [i, { at, steep }] of bowl.entries()) {
              gradient[i] = steep * (x[i]! - at);
              value += (steep / 2) * (x[i]! - at) ** 2;
            }
            return value;
          }, bowl.length);
          for (const [i, { at }] of bowl.entries()) expect(found[i]).toBeCloseTo(at, 4);
        },
      ),
    );
  });
  test("a logistic regression finds the word that decides", () => {
    const model = fitLogistic(rows.slice(0, 100), labels.slice(0, 100), 256, 1e-4);
    const scores = rows.slice(100).map((row) => predict(model, row));
    expect(areaUnderCurve(scores, labels.slice(100))).toBeGreaterThan(0.99);
    expect(fitLogistic(rows, labels, 256, 1e-4)).toEqual(fitLogistic(rows, labels, 256, 1e-4));
    const { values, scale } = quantise(model.weights);
    for (const [index, weight] of model.weights.entries()) {
      expect(Math.abs((values[index] ?? 0) * scale - weight)).toBeLessThanOrEqual(scale / 2 + 1e-12);
    }
  });
  test("what is said out of fold knows nothing of a row's own label", () => {
    const random = randomFrom(3);
    const noise = texts.map(() => random() < 0.5);
    expect(areaUnderCurve(crossFit(rows, noise, 256, 1e-4), noise)).toBeLessThan(0.65);
    expect(areaUnderCurve(crossFit(rows, labels, 256, 1e-4), labels)).toBeGreaterThan(0.95);
  });
  test("the penalty is the one that predicts best, and the logits are calibrated", () => {
    const { heldOut, l2 } = fitCalibrated(rows, labels, 256, [1e-4, 10]);
    expect(l2).toBe(1e-4);
    expect(reliability(heldOut.map(sigmoid), labels).error).toBeLessThan(0.1);
  });
  test("Platt scaling turns overconfident scores into shares, and noise into none", () => {
    const scores = Array.from({ length: 400 }, (_, i) => (i % 2 === 0 ? 5 : -5));
    const truth = scores.map((score, i) => (i % 10 < 2 ? score < 0 : score > 0)); // right four times in five
    const { slope, offset } = fitPlatt(scores, truth);
    expect(sigmoid(5 * slope + offset)).toBeCloseTo(0.8, 1);
    const contrary = fitPlatt(
      scores,
      scores.map((score) => score < 0),
    );
    expect(contrary.slope).toBe(0);
    expect(sigmoid(contrary.offset)).toBeCloseTo(0.5, 5);
  });
  test("the area under the curve counts pairs", () => {
    expect(areaUnderCurve([1, 2, 3, 4], [false, false, true, true])).toBe(1);
    expect(areaUnderCurve([1, 1, 1, 1], [false, true, false, true])).toBe(0.5);
  });
});

test("a bootstrap interval holds its value, and narrows with more prompts", () => {
  const random = randomFrom(8);
  const width = (n: number): number => {
    const right = Array.from({ length: n }, () => Number(random() < 0.9));
    const { lower, value, upper } = interval(resamples(n), n, ratioOf(right, new Uint8Array(n).fill(1)));
    expect(lower).toBeLessThanOrEqual(value);
    expect(value).toBeLessThanOrEqual(upper);
    return upper - lower;
  };
  const [few, many] = [width(100), width(1600)];
  expect(many).toBeLessThan(few / 2.5);
  expect(few).toBeGreaterThan(0.08); // ± 1.96 · √(0.9 · 0.1 / 100)
  expect(few).toBeLessThan(0.16);
});

test("labels survive their file, and half a line is no label", () => {
  const vector = Float32Array.of(0.1, -2, 3e-8);
  const prefill = { firstToken: { top1: 0.5, margin: 0.1, entropy: 2 }, hiddenLast: vector, hiddenMean: vector };
  const exit = { right: true, answer: [1, 2], confidences: [0.5, 0.25], escalated: [false], prefill };
  const line = encodeLabels("k", { promptTokens: 4, exits: [exit] });
  expect(decodeLabels(line)).toEqual({ row: "k", labels: { promptTokens: 4, exits: [exit] } });
  for (let cut = 0; cut < line.length; cut += 7) expect(decodeLabels(line.slice(0, cut))).toBeNull();
});

describe("thresholds", () => {
  const exits = [3, 6, 9];
  /** Prompts whose difficulty the gates see with some noise: exit k is right below its depth's share. */
  const prompts = (n: number, seed: number): Seen[] => {
    const random = randomFrom(seed);
    return Array.from({ length: n }, () => {
      const difficulty = random();
      const seen = (depth: number, noise: number): number => {
        const score = 1 - difficulty + (depth - 6) / 12 + noise * (random() - 0.5);
        return Math.min(Math.max(score, 0), 1);
      };
      const right = [0.7, 0.9, 0.97].map((share) => difficulty < share);
      return {
        exits,
        prompt: new Map(exits.map((exit) => [exit, seen(exit, 0.6)])),
        prefill: [seen(3, 0.2), seen(6, 0.2), 1],
        decode: [[seen(3, 0.1)], [seen(6, 0.1)], []],
        right,
        promptTokens: 20,
        tokens: [5, 5, 5],
        escalatedRight: (_, to, sent) => sent < 2 && right[to] === true,
      };
    });
  };
  const rows = prompts(200, 1);
  const cascades = chooseCascades(rows, exits, [3, 6]);

  test("there are some for every range, and they rise with the target", () => {
    expect(cascades.map(({ min_exit, max_exit }) => [min_exit, max_exit])).toEqual([
      [3, 6],
      [3, 9],
      [6, 9],
    ]);
    for (const cascade of cascades) expect(cascadeSchema.parse(cascade).targets).toHaveLength(QUALITIES.length);
  });

  test("each keeps its target where it was chosen, at no more than the deepest exit's cost", () => {
    for (const { min_exit, max_exit, targets } of cascades) {
      const within = exits.filter((exit) => exit >= min_exit && exit <= max_exit);
      const now = {
        exits: within,
        edgeExits: within.filter((exit) => exit < 9),
        origin: "ready",
        edge: "ready",
      } as const;
      const best = rows.filter((row) => ended(row, max_exit, "prompt").right).length;
      for (const target of targets) {
        const played = rows.map((row) => play(row, target, now));
        const quality = played.filter(({ right }) => right).length / best;
        expect(quality).toBeGreaterThanOrEqual(target.quality);
        expect(quality).toBeCloseTo(target.expected.quality.value, 3);
        expect(target.expected.quality.lower >= target.quality || quality >= 1).toBe(true);
        expect(target.expected.cost).toBeLessThanOrEqual(1);
      }
    }
  });

  test("a target of 1 asks for the deepest exit's quality, not for the deepest exit", () => {
    const { targets } = cascades.find(({ min_exit, max_exit }) => min_exit === 3 && max_exit === 9)!;
    const strictest = targets.at(-1)!;
    expect(strictest.quality).toBe(1);
    expect(strictest.expected.quality.value).toBeGreaterThanOrEqual(1);
    expect(strictest.expected.cost).toBeLessThan(1);
  });

  test("the same prompts give the same thresholds", () => {
    expect(chooseCascades(prompts(200, 1), exits, [3, 6])).toEqual(cascades);
  });

  test("targets are kept on prompts that were not seen", () => {
    const strangers = prompts(2000, 2);
    const { targets } = cascades.find(({ min_exit, max_exit }) => min_exit === 3 && max_exit === 9)!;
    const target = targets.find(({ quality }) => quality === 0.95)!;
    const now = { exits, edgeExits: [3, 6], origin: "ready", edge: "ready" } as const;
    const right = strangers.filter((row) => play(row, target, now).right).length;
    const best = strangers.filter((row) => row.right[2] === true).length;
    expect(right / best).toBeGreaterThan(0.94);
  });
});
