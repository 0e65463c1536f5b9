/** Quality targets to thresholds: for every range of exits the cheapest cascade that keeps each target. Pure. */
import type { Circumstances } from "../../src/policy/route.ts";
import type { Cascade, Expectation, Target, Thresholds } from "../../src/policy/targets.ts";
import { interval, ratioOf, resamples } from "./bootstrap.ts";
import { ended, finish, play, start, type Played, type Seen } from "./play.ts";

/** The targets that thresholds are chosen for; a request's own is rounded up to the next. */
export const QUALITIES = [0.8, 0.85, 0.9, 0.925, 0.95, 0.96, 0.97, 0.98, 0.99, 1] as const;
/** The first to be chosen: the others keep on its side of every threshold. */
export const DEFAULT_QUALITY = 0.95;
/** Candidates a gate: quantiles of its own scores. */
const STEPS = { prompt: 14, prefill: 18, decode: 8, alone: 60 } as const;

/** Every range of at least two exits, with its cascade. */
export function chooseCascades(
  rows: readonly Seen[],
  exits: readonly number[],
  edgeExits: readonly number[],
): Cascade[] {
  return exits.flatMap((from, at) =>
    exits.slice(at + 1).map((to) => {
      const within = exits.filter((exit) => exit >= from && exit <= to);
      const edge = edgeExits.filter((exit) => exit >= from && exit <= to);
      const now: Circumstances = { exits: within, edgeExits: edge, origin: "ready", edge: "ready" };
      return { min_exit: from, max_exit: to, targets: chooseTargets(rows, now) };
    }),
  );
}

/** What the targets of one range are chosen from. */
interface Candidate {
  readonly thresholds: Pick<Thresholds, "prompt" | "prefill" | "decode">;
  /** 1 for every prompt that is answered rightly. */
  readonly right: Uint8Array;
  readonly cost: number;
}

/** Ascending by quality; no threshold falls. */
export function chooseTargets(rows: readonly Seen[], now: Circumstances): Target[] {
  const judge = judgeOf(rows, now.exits.at(-1) ?? 0);
  const cascades = candidates(rows, now);
  const alone = aloneCandidates(rows, now);
  const chosen = new Map<number, { cascade: Candidate; alone: Candidate }>();
  const choose = (quality: number, floor?: number, ceiling?: number): void => {
    const within = (name: "cascade" | "alone") => (candidate: Candidate) =>
      (["prompt", "prefill", "decode"] as const).every(
        (gate) =>
          candidate.thresholds[gate] >= (chosen.get(floor ?? NaN)?.[name].thresholds[gate] ?? 0) &&
          candidate.thresholds[gate] <= (chosen.get(ceiling ?? NaN)?.[name].thresholds[gate] ?? 1),
      );
    chosen.set(quality, {
      cascade: cheapest(cascades.filter(within("cascade")), quality, judge),
      alone: cheapest(alone.filter(within("alone")), quality, judge),
    });
  };
  choose(DEFAULT_QUALITY);
  const above = QUALITIES.filter((quality) => quality > DEFAULT_QUALITY);
  const below = QUALITIES.filter((quality) => quality < DEFAULT_QUALITY).toReversed();
  for (const [at, quality] of above.entries()) choose(quality, above[at - 1] ?? DEFAULT_QUALITY, undefined);
  for (const [at, quality] of below.entries()) choose(quality, undefined, below[at - 1] ?? DEFAULT_QUALITY);
  return QUALITIES.map((quality) => {
    const { cascade, alone: single } = chosen.get(quality)!;
    const thresholds = { ...cascade.thresholds, alone: single.thresholds.prompt };
    return { quality, thresholds, expected: expectation(cascade, judge, rows, now) };
  });
}

interface Judge {
  readonly keeps: (candidate: Candidate, quality: number) => boolean;
  readonly quality: (candidate: Candidate) => Expectation["quality"];
  readonly relativeCost: (cost: number) => number;
}

/** Judges quality against the deepest exit of the range. */
function judgeOf(rows: readonly Seen[], deepest: number): Judge {
  const counts = resamples(rows.length);
  const best = rows.map((row) => ended(row, deepest, "prompt"));
  const bestRight = best.map(({ right }) => Number(right));
  const bestSum = sum(bestRight);
  const bestCost = sum(best.map(({ cost }) => cost));
  const quality = (candidate: Candidate): Expectation["quality"] =>
    interval(counts, rows.length, ratioOf(candidate.right, bestRight));
  return {
    quality,
    relativeCost: (cost) => cost / Math.max(bestCost, 1),
    /** With 95 % confidence the target; or at least as many right answers as the deepest exit has, which is all one may ask. */
    keeps(candidate, target) {
      const value = sum(candidate.right);
      if (value >= bestSum) return true;
      return target < 1 && value >= target * bestSum && quality(candidate).lower >= target;
    },
  };
}

function sum(values: Iterable<number>): number {
  let total = 0;
  for (const value of values) total += value;
  return total;
}

/** The first that keeps the target; always the last, which is the strictest, if none does. */
function cheapest(sorted: readonly Candidate[], quality: number, judge: Judge): Candidate {
  const found = sorted.find((candidate) => judge.keeps(candidate, quality)) ?? sorted.at(-1);
  if (found === undefined) throw new Error("no thresholds to choose from");
  return found;
}

function expectation(candidate: Candidate, judge: Judge, rows: readonly Seen[], now: Circumstances): Expectation {
  const target = targetOf(candidate.thresholds);
  const played = rows.map((row) => play(row, target, now));
  const share = (has: (one: Played) => boolean): number =>
    round(played.filter(has).length / Math.max(played.length, 1));
  const { lower, value, upper } = judge.quality(candidate);
  const exits = [...new Set(played.map(({ exit }) => exit))].toSorted((a, b) => a - b);
  return {
    quality: { lower: round(lower), value: round(value), upper: round(upper) },
    cost: round(judge.relativeCost(candidate.cost)),
    gates: {
      prompt: share(({ gate }) => gate === "prompt"),
      prefill: share(({ gate }) => gate === "prefill"),
      decode: share(({ gate }) => gate === "decode"),
    },
    exits: Object.fromEntries(exits.map((exit) => [String(exit), share((one) => one.exit === exit)])),
  };
}

const round = (value: number): number => Math.round(value * 1e4) / 1e4;

/** Every combination of the gates' thresholds, cheapest first; the strictest last. */
function candidates(rows: readonly Seen[], now: Circumstances): Candidate[] {
  const edge = now.edgeExits.filter((exit) => exit !== now.exits.at(-1));
  const at = edge.map((exit) => rows[0]?.exits.indexOf(exit) ?? 0);
  const prefill =
    edge.length === 0
      ? [1]
      : quantiles(
          rows.flatMap((row) => at.map((i) => row.prefill[i] ?? 1)),
          STEPS.prefill,
        );
  const decode =
    edge.length === 0
      ? [1]
      : quantiles(
          rows.flatMap((row) => at.map((i) => row.decode[i]?.at(-1) ?? 1)),
          STEPS.decode,
        );
  const found: Candidate[] = [];
  for (const prompt of promptSteps(rows, now, STEPS.prompt)) {
    const starts = rows.map((row) => start(row, targetOf({ prompt, prefill: 1, decode: 1 }), now));
    for (const prefillAt of prefill) {
      for (const decodeAt of decode) {
        const thresholds = { prompt, prefill: prefillAt, decode: decodeAt };
        const target = targetOf(thresholds);
        found.push(
          candidate(
            thresholds,
            rows.map((row, i) => finish(row, starts[i]!, target)),
          ),
        );
      }
    }
  }
  return sorted(found);
}

/** Gate 1's thresholds when it decides alone. */
function aloneCandidates(rows: readonly Seen[], now: Circumstances): Candidate[] {
  const turnedAway: Circumstances = { ...now, edgeExits: now.exits, edge: "full" };
  const found = promptSteps(rows, now, STEPS.alone).map((prompt) => {
    const target = targetOf({ prompt, prefill: 1, decode: 1 });
    return candidate(
      { prompt, prefill: 1, decode: 1 },
      rows.map((row) => finish(row, start(row, target, turnedAway), target)),
    );
  });
  return sorted(found);
}

function candidate(thresholds: Candidate["thresholds"], played: readonly Played[]): Candidate {
  return {
    thresholds,
    right: Uint8Array.from(played, ({ right }) => Number(right)),
    cost: sum(played.map(({ cost }) => cost)),
  };
}

/** By cost, then the stricter first: of equals the safer one is taken. The strictest of all stands last. */
function sorted(found: readonly Candidate[]): Candidate[] {
  const strictness = ({ thresholds: { prompt, prefill, decode } }: Candidate): number => prompt + prefill + decode;
  const order = found.toSorted((a, b) => a.cost - b.cost || strictness(b) - strictness(a));
  const strictest = order.reduce((best, next) => (strictness(next) > strictness(best) ? next : best));
  return [...order, strictest];
}

function promptSteps(rows: readonly Seen[], now: Circumstances, steps: number): number[] {
  const shallower = now.exits.slice(0, -1);
  return quantiles(
    rows.flatMap((row) => shallower.map((exit) => row.prompt.get(exit) ?? 0)),
    steps,
  );
}

/** 0, quantiles, and 1, rounded up to what is written. */
function quantiles(values: readonly number[], steps: number): number[] {
  const order = values.toSorted((a, b) => a - b);
  const inner = Array.from({ length: steps }, (_, at) => order[Math.floor((at / steps) * order.length)] ?? 1);
  return [...new Set([0, ...inner.map((value) => Math.min(Math.ceil(value * 1e4) / 1e4, 1)), 1])];
}

/** Thresholds to be tried; nothing is known of them yet. */
function targetOf({ prompt, prefill, decode }: Candidate["thresholds"]): Target {
  const unknown = { lower: 0, value: 0, upper: 0 };
  const expected = { quality: unknown, cost: 0, gates: { prompt: 0, prefill: 0, decode: 0 }, exits: {} };
  return { quality: 1, thresholds: { prompt, prefill, decode, alone: prompt }, expected };
}
