/** One set of labelled prompts through every router: what each keeps, saves and recovers. Pure. */
import type { Target } from "../../src/policy/targets.ts";
import { DEFAULT_PRICES, priceOf } from "../../src/tenant/pricing.ts";
import { interval, ratioOf, resamples, type Interval } from "../calibrate/bootstrap.ts";
import type { Played, Seen } from "../calibrate/play.ts";
import { apgr, cpt, curveOf, weighted, type CurvePoint, type Outcome, type Router } from "./metrics.ts";
import { endsOf, oracle, outcome, permuted, type PlayedOutcome } from "./routers.ts";

/** Draws of the random router; the interval is their 2.5th to 97.5th percentile. */
const DRAWS = 200;
const PRICE_TOKENS = 1_000_000;

/** What a router gives as a whole. */
export interface Summary {
  readonly name: string;
  readonly apgr: Interval;
  /** Normalised cost; 1: only the deepest exit reaches it. */
  readonly cpt50: number;
  readonly cpt80: number;
  readonly curve: readonly CurvePoint[];
}

/** The cascade at one of its targets. */
export interface Operating {
  readonly target: number;
  /** Relative to the deepest exit. */
  readonly quality: Interval;
  /** Layers · tokens relative to the deepest exit. */
  readonly cost: number;
  /** Micro-dollars per thousand prompts at the default prices. */
  readonly microUsd: number;
  /** Share of the way from always-deepest to the oracle's cost that is saved. */
  readonly saved: number;
  readonly exits: Readonly<Record<string, number>>;
  readonly gates: Readonly<Record<Played["gate"], number>>;
  /** Quality of the same exits given to other prompts. */
  readonly random: { readonly lower: number; readonly mean: number; readonly upper: number };
}

export interface Evaluation {
  readonly prompts: number;
  /** Share of right answers by exit. */
  readonly right: Readonly<Record<string, number>>;
  readonly deepestMicroUsd: number;
  readonly oracle: { readonly quality: number; readonly cost: number };
  readonly operating: readonly Operating[];
  readonly routers: readonly Summary[];
  /** APGR of the cascade minus that of gate 1 alone, resampled together. */
  readonly cascadeMinusPrompt: Interval;
}

export interface Routers {
  readonly cascade: readonly PlayedOutcome[];
  /** Gate 1 alone is the first. */
  readonly others: readonly [Router, ...Router[]];
}

export function evaluate(
  rows: readonly Seen[],
  targets: readonly Pick<Target, "quality">[],
  routers: Routers,
): Evaluation {
  const ends = endsOf(rows);
  const counts = resamples(rows.length);
  const ones = new Uint8Array(rows.length).fill(1);
  const exits = rows[0]?.exits ?? [];
  const deepestCost = weighted(ends.deepest.cost, ones);
  const best = oracle(rows);
  const bound = best.points.at(-1)!;
  const oracleCost = weighted(bound.cost, ones) / deepestCost;
  const cascade: Router = { name: "cascade", points: routers.cascade };
  const drawn: Router = {
    name: "random",
    points: routers.cascade.map(({ played }) => permuted(rows, played, DRAWS)),
  };
  const area = (router: Router) => (weights: ArrayLike<number>) => apgr(curveOf(router, ends, weights));
  const summary = (router: Router): Summary => {
    const curve = curveOf(router, ends, ones);
    return {
      name: router.name,
      apgr: interval(counts, rows.length, area(router)),
      cpt50: cpt(curve, 0.5),
      cpt80: cpt(curve, 0.8),
      curve,
    };
  };
  return {
    prompts: rows.length,
    right: Object.fromEntries(exits.map((exit, at) => [exit, mean(rows.map((row) => Number(row.right[at])))])),
    deepestMicroUsd: microUsd(rows, (row) => row.exits.at(-1) ?? 0),
    oracle: { quality: weighted(bound.right, ones) / weighted(ends.deepest.right, ones), cost: oracleCost },
    operating: routers.cascade.slice(0, targets.length).map((point, at) => {
      const cost = weighted(point.cost, ones) / deepestCost;
      return {
        target: targets[at]?.quality ?? 0,
        quality: interval(counts, rows.length, ratioOf(point.right, ends.deepest.right)),
        cost,
        microUsd: microUsd(rows, (_, row) => point.played[row]?.exit ?? 0),
        saved: (1 - cost) / (1 - oracleCost),
        exits: shares(exits, (exit) => point.played.filter((one) => one.exit === exit).length, rows.length),
        gates: shares(
          ["prompt", "prefill", "decode"],
          (gate) => point.played.filter((one) => one.gate === gate).length,
          rows.length,
        ),
        random: randomQuality(rows, point, ends.deepest),
      };
    }),
    routers: [cascade, ...routers.others, drawn, best].map(summary),
    cascadeMinusPrompt: interval(
      counts,
      rows.length,
      (weights) => area(cascade)(weights) - area(routers.others[0])(weights),
    ),
  };
}

const mean = (values: readonly number[]): number =>
  values.reduce((sum, value) => sum + value, 0) / Math.max(values.length, 1);

function shares<T extends string | number>(
  names: readonly T[],
  count: (name: T) => number,
  of: number,
): Record<T, number> {
  return Object.fromEntries(names.map((name) => [name, count(name) / of])) as Record<T, number>;
}

function randomQuality(rows: readonly Seen[], { played }: PlayedOutcome, deepest: Outcome): Operating["random"] {
  const ones = new Uint8Array(rows.length).fill(1);
  const base = weighted(deepest.right, ones);
  const drawn = Array.from({ length: DRAWS }, (_, seed) => weighted(permuted(rows, played, seed).right, ones) / base);
  drawn.sort((a, b) => a - b);
  const at = (share: number): number => drawn[Math.round(share * (DRAWS - 1))] ?? NaN;
  return { lower: at(0.025), mean: mean(drawn), upper: at(0.975) };
}

/** What a tenant pays for a thousand of these prompts. */
function microUsd(rows: readonly Seen[], exitOf: (row: Seen, at: number) => number): number {
  const deepest = rows[0]?.exits.at(-1) ?? 1;
  const all = rows.map((row, at) => {
    const exit = exitOf(row, at);
    const { input, output } = priceOf(DEFAULT_PRICES, exit, deepest);
    const tokens = row.tokens[row.exits.indexOf(exit)] ?? 0;
    return (row.promptTokens * input + tokens * output) / PRICE_TOKENS;
  });
  return mean(all) * 1000;
}

/** The same evaluation of parts that were routed by different gates. */
export function joined(parts: readonly PlayedOutcome[][]): PlayedOutcome[] {
  return (parts[0] ?? []).map((_, at) => outcome(parts.flatMap((part) => part[at]?.played ?? [])));
}
