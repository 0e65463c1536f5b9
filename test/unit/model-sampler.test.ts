import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { samplingSchema, type Sampling } from "../../src/generation.ts";
import { confidenceOf, logSumExp, sample, type Seen, topLogprobs, uniform } from "../../src/model/sampler.ts";

const sampling = (changes: Partial<Sampling> = {}) => samplingSchema.parse({ seed: 7, ...changes });
const nothing: Seen = { all: new Set(), answer: new Map() };
const logitsOf = (...values: number[]) => Float32Array.from(values);
const anyLogits = fc
  .array(
    fc.integer({ min: -1280, max: 1280 }).map((value) => value / 64),
    { minLength: 1, maxLength: 60 },
  )
  .map((values) => Float32Array.from(values));

/** Ids that come out over many positions. */
const drawn = (logits: Float32Array, changes: Partial<Sampling>, draws = 400) =>
  new Set(Array.from({ length: draws }, (_, position) => sample(logits, sampling(changes), nothing, position)));

const ascending = (ids: Iterable<number>) => [...ids].sort((left, right) => left - right);

/** Softmax at `temperature`, the definition. */
const softmax = (logits: Float32Array, temperature = 1) => {
  const peak = Math.max(...logits);
  const weights = Array.from(logits, (logit) => Math.exp((logit - peak) / temperature));
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  return weights.map((weight) => weight / total);
};

describe("randomness", () => {
  test("is a function of seed and position", () => {
    fc.assert(
      fc.property(anyLogits, fc.nat(0xffffffff), fc.nat(8192), (logits, seed, position) => {
        const once = sample(logits, sampling({ seed }), nothing, position);
        expect(sample(logits.slice(), sampling({ seed }), nothing, position)).toBe(once);
      }),
    );
  });

  test("is fixed for all time: a change would break every seed in use", () => {
    expect([uniform(0, 0), uniform(1, 0), uniform(0, 1), uniform(0xffffffff, 8191)]).toMatchInlineSnapshot(`
      [
        0.6650139957566581,
        0.43376403527520246,
        0.7564548137878292,
        0.9976971675261923,
      ]
    `);
  });

  test("is uniform over positions and over seeds (chi-square, 16 cells, p > 0.0001)", () => {
    for (const draw of [(n: number) => uniform(42, n), (n: number) => uniform(n, 3), (n: number) => uniform(n, n)]) {
      const cells = Array.from({ length: 16 }, () => 0);
      const draws = 16_000;
      for (let n = 0; n < draws; n++) {
        const value = draw(n);
        expect(value >= 0 && value < 1).toBe(true);
        cells[Math.floor(value * 16)] = (cells[Math.floor(value * 16)] ?? 0) + 1;
      }
      const chi = cells.reduce((sum, count) => sum + (count - draws / 16) ** 2 / (draws / 16), 0);
      expect(chi).toBeLessThan(44.3);
    }
  });

  test("draws ids as often as their probability says", () => {
    const logits = logitsOf(1, 0, 2, -1);
    const counts = [0, 0, 0, 0];
    const draws = 20_000;
    for (let position = 0; position < draws; position++) {
      const id = sample(logits, sampling({ temperature: 0.8 }), nothing, position);
      counts[id] = (counts[id] ?? 0) + 1;
    }
    for (const [id, probability] of softmax(logits, 0.8).entries()) {
      expect(Math.abs((counts[id] ?? 0) / draws - probability)).toBeLessThan(0.015);
    }
  });
});

describe("greedy", () => {
  test("takes the largest logit, the lowest id of several", () => {
    expect(sample(logitsOf(1, 3, 2, 3), sampling({ temperature: 0 }), nothing, 0)).toBe(1);
    fc.assert(
      fc.property(anyLogits, (logits) => {
        const id = sample(logits, sampling({ temperature: 0, top_p: 0.3, top_k: 2 }), nothing, 5);
        expect(id).toBe(logits.indexOf(Math.max(...logits)));
      }),
    );
  });
});

describe("truncation", () => {
  test("top-k keeps k ids, ties by lowest id", () => {
    expect(ascending(drawn(logitsOf(0, 1, 1, 1, -1), { top_k: 2 }))).toEqual([1, 2]);
    expect(drawn(logitsOf(0, 1, 1, 1, -1), { top_k: 9 }).size).toBe(5);
  });

  test("top-p keeps the fewest ids that reach the mass", () => {
    fc.assert(
      fc.property(anyLogits, fc.double({ min: 0.01, max: 0.999, noNaN: true }), (logits, top_p) => {
        const probabilities = softmax(logits);
        const order = probabilities
          .map((_, id) => id)
          .sort((a, b) => (probabilities[b] ?? 0) - (probabilities[a] ?? 0) || a - b);
        for (const id of drawn(logits, { top_p }, 40)) {
          const before = order.slice(0, order.indexOf(id)).reduce((sum, other) => sum + (probabilities[other] ?? 0), 0);
          expect(before).toBeLessThan(top_p + 1e-9);
        }
      }),
    );
    expect(
      ascending(drawn(logitsOf(Math.log(0.5), Math.log(0.3), Math.log(0.15), Math.log(0.05)), { top_p: 0.7 })),
    ).toEqual([0, 1]);
  });

  test("min-p drops what is less probable than that share of the most probable", () => {
    const logits = logitsOf(0, Math.log(0.5), Math.log(0.19), Math.log(0.21));
    expect(ascending(drawn(logits, { min_p: 0.2 }))).toEqual([0, 1, 3]);
  });

  test("together never leave nothing", () => {
    fc.assert(
      fc.property(
        anyLogits,
        fc.nat(5),
        fc.double({ min: 1e-9, max: 1, noNaN: true }),
        fc.double({ min: 0, max: 1, noNaN: true }),
        fc.double({ min: 0.01, max: 2, noNaN: true }),
        (logits, top_k, top_p, min_p, temperature) => {
          const id = sample(logits, sampling({ top_k, top_p, min_p, temperature }), nothing, 1);
          expect(id).toBeGreaterThanOrEqual(0);
          expect(id).toBeLessThan(logits.length);
        },
      ),
    );
  });
});

describe("penalties", () => {
  const greedy = (logits: Float32Array, changes: Partial<Sampling>, seen: Partial<Seen>) =>
    sample(logits, sampling({ temperature: 0, ...changes }), { ...nothing, ...seen }, 0);

  test("repetition divides positive and multiplies negative logits of prompt and answer", () => {
    expect(greedy(logitsOf(2, 1.1), { repetition_penalty: 2 }, { all: new Set([0]) })).toBe(1);
    expect(greedy(logitsOf(2, 0.9), { repetition_penalty: 2 }, { all: new Set([0]) })).toBe(0);
    expect(greedy(logitsOf(-1, -1.9), { repetition_penalty: 2 }, { all: new Set([0]) })).toBe(1);
  });

  test("presence counts once, frequency every time, of the answer only", () => {
    const answer = new Map([[0, 3]]);
    expect(greedy(logitsOf(2, 1.1), { presence_penalty: 1 }, { answer })).toBe(1);
    expect(greedy(logitsOf(2, 0.9), { presence_penalty: 1 }, { answer })).toBe(0);
    expect(greedy(logitsOf(2, -0.9), { frequency_penalty: 1 }, { answer })).toBe(1);
    expect(greedy(logitsOf(2, 1.9), { presence_penalty: 2, frequency_penalty: 2 }, { all: new Set([0]) })).toBe(0);
  });

  test("leave the logits as they were", () => {
    const logits = logitsOf(1, 2, 3);
    sample(
      logits,
      sampling({ repetition_penalty: 2, presence_penalty: 1 }),
      { all: new Set([2]), answer: new Map([[2, 1]]) },
      0,
    );
    expect(logits).toEqual(logitsOf(1, 2, 3));
  });
});

describe("log-probabilities", () => {
  test("are those of the softmax, best first, ties by lowest id", () => {
    fc.assert(
      fc.property(anyLogits, fc.integer({ min: 1, max: 20 }), (logits, count) => {
        const top = topLogprobs(logits, logSumExp(logits), count);
        const expected = softmax(logits)
          .map((probability, id) => ({ id, logit: logits[id] ?? 0, logprob: Math.log(probability) }))
          .sort((a, b) => b.logit - a.logit || a.id - b.id)
          .slice(0, count);
        expect(top.map(({ id }) => id)).toEqual(expected.map(({ id }) => id));
        for (const [at, { logprob }] of top.entries()) expect(logprob).toBeCloseTo(expected[at]?.logprob ?? 0, 6);
      }),
    );
  });

  test("survive logits that overflow exp", () => {
    const logits = logitsOf(1000, 999);
    expect(topLogprobs(logits, logSumExp(logits), 1)[0]?.logprob).toBeCloseTo(-0.3133, 4);
  });

  test("give top-1, margin and entropy", () => {
    const { top1, margin, entropy } = confidenceOf(logitsOf(Math.log(0.7), Math.log(0.2), Math.log(0.1)), 0);
    expect(top1).toBeCloseTo(0.7, 6);
    expect(margin).toBeCloseTo(0.5, 6);
    expect(entropy).toBeCloseTo(0.8018, 4);
    const alone = confidenceOf(logitsOf(3), 3);
    expect(alone).toEqual({ top1: 1, margin: 1, entropy: 0 });
  });
});
