/** The gates and the exit choice: pure, so every promise is a property. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { decodeFeatures, RunningConfidence, scoreDecode } from "../../src/policy/decode-gate.ts";
import { scorePrefill } from "../../src/policy/prefill-gate.ts";
import { explainPrompt, scorePrompt } from "../../src/policy/prompt-gate.ts";
import { decideByPrompt, decideLater, type Circumstances } from "../../src/policy/route.ts";
import { modelIds, selectModel } from "../../src/policy/selection.ts";
import { targetFor, type Target } from "../../src/policy/targets.ts";
import { promptFeatures, words } from "../../src/policy/text-features.ts";
import { play, type Seen } from "../../scripts/calibrate/play.ts";

const exits = [3, 6, 9, 12];
const now: Circumstances = { exits, edgeExits: [3, 6], origin: "ready", edge: "ready" };
const user = (content: string) => [{ role: "user" as const, content }];
const AUTO = { kind: "auto", quality: null } as const;
const probability = fc.double({ min: 0, max: 1, noNaN: true });

/** A target with these thresholds. */
function target(thresholds: Partial<Target["thresholds"]> = {}): Target {
  const all = { prompt: 0.5, prefill: 0.5, decode: 0, alone: 0.5, ...thresholds };
  const quality = { lower: 0, value: 0, upper: 0 };
  return {
    quality: 0.95,
    thresholds: all,
    expected: { quality, cost: 0, gates: { prompt: 0, prefill: 0, decode: 0 }, exits: {} },
  };
}

const decide = (scores: readonly number[], thresholds: Partial<Target["thresholds"]>, circumstances = now) =>
  decideByPrompt(
    AUTO,
    {
      scores: new Map(exits.map((exit, at) => [exit, scores[at] ?? 0])),
      targetOf: () => ({ ...target(thresholds), range: "3-12" }),
    },
    circumstances,
  );

describe("model ids", () => {
  const served = { name: "tiny", exits };
  test("every id that is listed is understood", () => {
    for (const id of modelIds(served)) expect(selectModel(id, served).ok).toBe(true);
  });
  test("a quality target is part of the id", () => {
    expect(selectModel("tiny:auto@0.9", served)).toEqual({ ok: true, policy: { kind: "auto", quality: 0.9 } });
    expect(selectModel("tiny:auto@1", served)).toEqual({ ok: true, policy: { kind: "auto", quality: 1 } });
  });
  test.each(["", "tiny:", "tiny:exit-", "tiny:exit-03", "other", "tiny:auto:auto", "tiny:exit-3x", "Tiny"])(
    "%j is no model",
    (id) => expect(selectModel(id, served)).toEqual({ ok: false, reason: "unknown_model" }),
  );
  test.each(["tiny:auto@", "tiny:auto@0", "tiny:auto@1.1", "tiny:auto@.9", "tiny:auto@0.0", "tiny:auto@0.9x"])(
    "%j names no quality",
    (id) => expect(selectModel(id, served)).toEqual({ ok: false, reason: "unknown_model" }),
  );
  test("a depth that is no exit is told apart", () => {
    expect(selectModel("tiny:exit-4", served)).toEqual({ ok: false, reason: "unknown_exit" });
  });
});

describe("prompt features", () => {
  const lengthOf = ({ values }: { values: Float32Array }) => Math.sqrt(values.reduce((sum, v) => sum + v * v, 0));
  test("numbers are shapes, every bucket stands once, the last turn has length 1", () => {
    expect(words("What is 17 + 25?")).toEqual(["what", "is", "##", "+", "##", "?"]);
    fc.assert(
      fc.property(fc.string({ maxLength: 300 }), (text) => {
        const { buckets, values } = promptFeatures(user(text), 1024);
        expect(new Set(buckets).size).toBe(values.length);
        for (const bucket of buckets) expect(bucket).toBeLessThan(1024);
        expect(lengthOf({ values })).toBeLessThan(1.26); // 1 and what stands before it
      }),
    );
  });
  test("more of the same is another vector", () => {
    const short = new Set(promptFeatures(user("A points to B."), 4096).buckets);
    const long = promptFeatures(user("A points to B. A points to B. A points to B."), 4096).buckets;
    expect(Array.from(long).some((bucket) => !short.has(bucket))).toBe(true);
  });
  test("however long the talk before it, the last turn decides", () => {
    const talk = (turns: number, last: string) => [
      ...Array.from({ length: turns }, () => ({ role: "user" as const, content: "Some long talk about rivers." })),
      { role: "user" as const, content: last },
    ];
    const dense = (vector: ReturnType<typeof promptFeatures>) => {
      const all = new Float32Array(4096);
      for (const [at, bucket] of vector.buckets.entries()) all[bucket] = vector.values[at] ?? 0;
      return all;
    };
    const distance = (a: Float32Array, b: Float32Array) => Math.hypot(...a.map((value, at) => value - (b[at] ?? 0)));
    const [asked, other] = ["What is 2 + 2?", "Name a colour."];
    const base = dense(promptFeatures(talk(40, asked), 4096));
    expect(distance(base, dense(promptFeatures(talk(0, asked), 4096)))).toBeLessThan(0.6);
    expect(distance(base, dense(promptFeatures(talk(40, other), 4096)))).toBeGreaterThan(1);
  });
  test("what is named as moving a score adds up to it", () => {
    const gate = {
      buckets: 64,
      weights: Int8Array.from({ length: 64 }, (_, at) => at - 32),
      scale: [0.1],
      bias: [0.2],
    };
    const messages = user("Is 7 more than 5?");
    const [score = 0] = scorePrompt(gate, messages);
    const sum = explainPrompt(gate, messages, 0, 1000).reduce((total, { logit }) => total + logit, 0.2);
    expect(Math.log(score / (1 - score))).toBeCloseTo(sum, 4);
  });
});

describe("gate 1", () => {
  const scores = fc.array(probability, { minLength: 4, maxLength: 4 });
  test("takes the first exit that reaches the threshold, on the tier that has it", () => {
    fc.assert(
      fc.property(scores, probability, (given, prompt) => {
        const decision = decide(given, { prompt });
        const first = given.findIndex((score) => score >= prompt);
        expect(decision.exit).toBe(first === -1 ? 12 : exits[first]);
        expect(decision.tier).toBe(decision.exit <= 6 ? "edge" : "origin");
        if (decision.later?.prefillTo) expect(decision.later.prefillTo).toBeGreaterThan(6);
        expect(decide(given, { prompt })).toEqual(decision);
      }),
    );
  });
  test("a fixed exit is kept, whatever the scores", () => {
    expect(decideByPrompt({ kind: "fixed", exit: 9 }, null, now)).toMatchObject({
      exit: 9,
      tier: "origin",
      later: null,
    });
  });
  test("without calibration the deepest exit answers", () => {
    expect(decideByPrompt(AUTO, null, now)).toMatchObject({ exit: 12, tier: "origin", later: null });
    expect(decideByPrompt(AUTO, null, { ...now, origin: "absent" })).toMatchObject({ exit: 6, tier: "edge" });
  });
  test.each([
    ["no origin", { origin: "absent" }, { exit: 6, tier: "edge", reason: /reason=no-origin/ }],
    [
      "an origin that is down",
      { origin: "down" },
      { exit: 6, tier: "edge", reason: /^degraded; .*reason=origin-down/ },
    ],
    ["a full edge", { edge: "full" }, { exit: 12, tier: "origin", reason: /reason=edge-full/ }],
    ["an edge that does not load", { edge: "unavailable" }, { exit: 12, tier: "origin", reason: /=edge-unavailable/ }],
  ] as const)("%s changes the verdict, and says so", (_, change, { exit, tier, reason }) => {
    const decision = decide([0, 0, 0, 0], {}, { ...now, ...change });
    expect(decision).toMatchObject({ exit, tier, later: null });
    expect(decision.reason).toMatch(reason);
  });
  test("an edge that turns away leaves gate 1 alone, with its own threshold", () => {
    expect(decide([0.6, 0.9, 1, 1], { prompt: 0.5, alone: 0.8 }, { ...now, edge: "full" })).toMatchObject({
      exit: 6,
      tier: "origin",
      later: null,
    });
  });
  test("no origin that rests is used, and no exit beyond the bounds", () => {
    fc.assert(
      fc.property(scores, probability, fc.subarray(exits, { minLength: 1 }), (given, prompt, allowed) => {
        const bounded = { ...now, exits: allowed, edgeExits: allowed.filter((exit) => exit <= 6) };
        for (const origin of ["ready", "down", "absent"] as const) {
          const { exit, tier, later } = decide(given, { prompt }, { ...bounded, origin });
          const named = [exit, ...(later ? [later.decodeTo, ...later.ladder.map((rung) => rung.exit)] : [])];
          expect([...named, later?.prefillTo ?? exit].every((one) => allowed.includes(one))).toBe(true);
          if (origin !== "ready" && bounded.edgeExits.length > 0) expect(tier).toBe("edge");
        }
      }),
    );
  });
});

describe("gates 2 and 3", () => {
  test("let an answer be at their threshold, and not below", () => {
    for (const gate of ["prefill", "decode"] as const) {
      expect(decideLater(gate, 0.49, { ...target({ [gate]: 0.5 }), range: "3-12" }).enough).toBe(false);
      expect(decideLater(gate, 0.5, { ...target({ [gate]: 0.5 }), range: "3-12" }).enough).toBe(true);
    }
  });
  test("scores are probabilities, and the probe sees every part of what was read", () => {
    const hidden = { hiddenLast: Float32Array.of(3, 4), hiddenMean: Float32Array.of(1, 1) };
    const seen = { firstToken: { top1: 0.9, margin: 0.8, entropy: 0.1 }, ...hidden };
    const score = (weights: number[]) => scorePrefill({ weights: Float32Array.from(weights), bias: 0 }, 0.7, seen);
    expect(score([1, 0, 0, 0, 0, 0, 0, 0])).toBeCloseTo(0.7);
    for (let at = 0; at < 8; at++) expect(score(Array.from({ length: 8 }, (_, i) => Number(i === at)))).not.toBe(0.5);
  });
  test("confidences are kept in order, and an unsure token lowers the score", () => {
    fc.assert(
      fc.property(fc.array(probability, { minLength: 1, maxLength: 30 }), (confidences) => {
        const running = new RunningConfidence();
        let all: readonly number[] = [];
        for (const confidence of confidences) all = running.push(confidence);
        expect(all).toEqual(confidences.toSorted((a, b) => a - b));
      }),
    );
    const model = { weights: [0, 1, 0.5, 0.2, 0], bias: 0 };
    expect(scoreDecode(model, 0.5, [0.2, 0.9, 0.9])).toBeLessThan(scoreDecode(model, 0.5, [0.8, 0.9, 0.9]));
    expect(decodeFeatures(0.5, [0.1, 0.5, 0.9])).toHaveLength(5);
  });
});

describe("the cascade", () => {
  const seen: fc.Arbitrary<Seen> = fc
    .record({
      prompt: fc.array(probability, { minLength: 4, maxLength: 4 }),
      prefill: fc.array(probability, { minLength: 3, maxLength: 3 }),
      decode: fc.array(fc.array(probability, { maxLength: 4 }), { minLength: 3, maxLength: 3 }),
      right: fc.array(fc.boolean(), { minLength: 4, maxLength: 4 }),
    })
    .map(({ prompt, prefill, decode, right }) => ({
      exits,
      prompt: new Map(exits.map((exit, at) => [exit, prompt[at] ?? 0])),
      prefill: [...prefill, 1],
      decode: [...decode, []],
      right,
      promptTokens: 10,
      tokens: [4, 4, 4, 4],
      escalatedRight: (_, to) => right[to] === true,
    }));
  const thresholds = fc.record({ prompt: probability, prefill: probability, decode: probability });

  test("no higher target ever picks a shallower exit for the same features", () => {
    fc.assert(
      fc.property(seen, thresholds, thresholds, (row, one, two) => {
        const before = (["prompt", "prefill"] as const).every((gate) => one[gate] <= two[gate]);
        fc.pre(before);
        const [lower, higher] = [one, two].map((each) => play(row, target({ ...each, decode: 0 }), now));
        expect(higher!.exit).toBeGreaterThanOrEqual(lower!.exit);
      }),
    );
  });
  test("gate 3 never brings an answer up, and only once", () => {
    fc.assert(
      fc.property(seen, thresholds, (row, each) => {
        const without = play(row, target({ ...each, decode: 0 }), now);
        const with3 = play(row, target(each), now);
        expect(with3.exit).toBe(with3.gate === "decode" ? 12 : without.exit);
        expect(with3.cost).toBe(with3.exit * 14);
      }),
    );
  });
  test("a target is rounded up to the next that was calibrated, within its range", () => {
    const targets = [0.9, 0.95, 1].map((quality) => ({ ...target(), quality }));
    const cascades = [{ min_exit: 3, max_exit: 12, targets }];
    expect(targetFor(cascades, exits, 0.5)?.quality).toBe(0.9);
    expect(targetFor(cascades, exits, 0.91)?.quality).toBe(0.95);
    expect(targetFor(cascades, [3, 12], 1)?.quality).toBe(1);
    expect(targetFor(cascades, [3, 6], 1)).toBeNull();
  });
});
