/** The measures of `npm run route-eval`, on curves whose answers are known. */
import { describe, expect, test } from "vitest";
import { apgr, cpt, curveOf, type Outcome } from "../../scripts/route-eval/metrics.ts";
import { plot } from "../../scripts/route-eval/plot.ts";
import { endsOf, oracle, permuted } from "../../scripts/route-eval/routers.ts";
import { ended, type Seen } from "../../scripts/calibrate/play.ts";
import { randomFrom } from "../../scripts/calibrate/random.ts";

/** `n` prompts, the first `deep` of them at the deepest exit. */
const mix = (right: readonly number[], deep: number): Outcome => ({
  right: right.map((value, at) => (at < deep ? 1 : value)),
  cost: right.map((_, at) => (at < deep ? 12 : 3)),
});
const ones = new Uint8Array(10).fill(1);
/** The shallowest exit is wrong on the first five. */
const shallow = [0, 0, 0, 0, 0, 1, 1, 1, 1, 1];
const ends = { shallowest: mix(shallow, 0), deepest: mix(shallow, 10) };

describe("a router's curve", () => {
  test("sending everything one way or the other has half of the area", () => {
    const curve = curveOf({ name: "mix", points: [] }, ends, ones);
    expect(apgr(curve)).toBe(0.5);
    expect([cpt(curve, 0.5), cpt(curve, 0.8)]).toEqual([0.5, 0.8]);
  });
  test("knowing what is hard has three quarters of it here", () => {
    const points = Array.from({ length: 11 }, (_, deep) => mix(shallow, deep));
    const curve = curveOf({ name: "knows", points }, ends, ones);
    expect(apgr(curve)).toBeCloseTo(0.75);
    expect(cpt(curve, 0.8)).toBeCloseTo(0.4);
  });
  test("a router that never gets there has a CPT of 1", () => {
    expect(
      cpt(
        [
          { cost: 0, pgr: 0 },
          { cost: 1, pgr: 0.4 },
        ],
        0.5,
      ),
    ).toBe(1);
  });
});

describe("the routers", () => {
  const random = randomFrom(4);
  const exits = [3, 6, 12];
  const rows: Seen[] = Array.from({ length: 300 }, () => {
    const hard = random();
    return {
      exits,
      prompt: new Map(),
      prefill: [1, 1, 1],
      decode: [[], [], []],
      right: [0.6, 0.8, 0.95].map((share) => hard < share),
      promptTokens: 10,
      tokens: [2, 2, 2],
      escalatedRight: () => false,
    };
  });
  test("the oracle is right where anybody is, at the least cost", () => {
    const best = oracle(rows).points.at(-1)!;
    for (const [at, row] of rows.entries()) {
      expect(best.right[at]).toBe(Number(row.right.some(Boolean)));
      const cheapest = exits.find((_, exit) => row.right[exit]) ?? 3;
      expect(best.cost[at]).toBe(cheapest * 12);
    }
  });
  test("random keeps the shares of exits, hence the cost", () => {
    const played = rows.map((row, at) => ended(row, exits[at % 3] ?? 3, "prompt"));
    const drawn = permuted(rows, played, 1);
    const sum = (values: ArrayLike<number>) => Array.from(values).reduce((total, value) => total + value, 0);
    expect(sum(drawn.cost)).toBe(sum(played.map(({ cost }) => cost)));
    expect(Array.from(drawn.cost)).not.toEqual(played.map(({ cost }) => cost));
    expect(sum(endsOf(rows).deepest.cost)).toBe(300 * 144);
  });
});

test("a plot is one SVG, its words escaped", () => {
  const axes = { title: "a < b & c", x: { label: "x", from: 0, to: 1 }, y: { label: "y", from: 0, to: 1 } };
  const svg = plot(axes, [
    {
      name: "one",
      points: [
        { x: 0, y: 0 },
        { x: 1, y: 1 },
      ],
    },
  ]);
  expect(svg).toMatch(/^<svg [^]*<\/svg>\n$/);
  expect(svg).toContain("a &lt; b &amp; c");
  expect(svg).not.toContain("NaN");
});
