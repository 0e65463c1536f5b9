/** The routers that are compared, played over labelled prompts. Pure. */
import type { Circumstances } from "../../src/policy/route.ts";
import { logit, sigmoid } from "../../src/policy/logistic.ts";
import type { Target } from "../../src/policy/targets.ts";
import { shuffled } from "../calibrate/random.ts";
import { ended, play, type Played, type Seen } from "../calibrate/play.ts";
import type { Ends, Outcome, Router } from "./metrics.ts";

/** Settings of a threshold that is swept. */
const SWEEP = 40;

export interface PlayedOutcome extends Outcome {
  readonly played: readonly Played[];
}

export function outcome(played: readonly Played[]): PlayedOutcome {
  return {
    played,
    right: Uint8Array.from(played, ({ right }) => Number(right)),
    cost: Float64Array.from(played, ({ cost }) => cost),
  };
}

export function endsOf(rows: readonly Seen[]): Ends {
  const at = (exit: number): Outcome => outcome(rows.map((row) => ended(row, exit, "prompt")));
  const exits = rows[0]?.exits ?? [];
  return { shallowest: at(exits[0] ?? 0), deepest: at(exits.at(-1) ?? 0) };
}

/** The cascade at each of its calibrated targets, and beyond the last one. */
export function cascade(rows: readonly Seen[], targets: readonly Target[], now: Circumstances): PlayedOutcome[] {
  return [...targets, ...stricter(targets)].map((target) => outcome(rows.map((row) => play(row, target, now))));
}

/** Logits by which all thresholds rise together beyond the last target: the curve goes on to the deepest exit. */
const STRICTER = [0.5, 1, 1.5, 2, 3, 4];

function stricter(targets: readonly Target[]): Target[] {
  const last = targets.at(-1);
  if (last === undefined) return [];
  const { prompt, prefill, decode } = last.thresholds;
  return STRICTER.map((by) => {
    const up = (threshold: number): number => sigmoid(logit(threshold) + by);
    return withThresholds({ prompt: up(prompt), prefill: up(prefill), decode, alone: 1 });
  });
}

/** One gate at every threshold, the others open. */
export function gateAlone(gate: "prompt" | "prefill" | "decode", rows: readonly Seen[], now: Circumstances): Router {
  const scores = rows.flatMap((row) => scoresOf(gate, row)).toSorted((a, b) => a - b);
  const steps = Array.from({ length: SWEEP }, (_, at) => scores[Math.floor((at / SWEEP) * scores.length)] ?? 0);
  const turnedAway: Circumstances = { ...now, edgeExits: now.exits, edge: "full" };
  const points = [...new Set([...steps, 1])].map((threshold) => {
    const open = { prompt: 0, prefill: 0, decode: 0, alone: 0 };
    const target = withThresholds({ ...open, [gate === "prompt" ? "alone" : gate]: threshold });
    return outcome(rows.map((row) => play(row, target, gate === "prompt" ? turnedAway : now)));
  });
  return { name: gate, points };
}

function scoresOf(gate: "prompt" | "prefill" | "decode", row: Seen): number[] {
  const shallower = row.exits.slice(0, -1);
  if (gate === "prompt") return shallower.map((exit) => row.prompt.get(exit) ?? 0);
  return shallower.flatMap((_, at) => (gate === "prefill" ? (row.prefill[at] ?? 1) : (row.decode[at]?.at(-1) ?? 1)));
}

function withThresholds(thresholds: Target["thresholds"]): Target {
  const quality = { lower: 0, value: 0, upper: 0 };
  const expected = { quality, cost: 0, gates: { prompt: 0, prefill: 0, decode: 0 }, exits: {} };
  return { quality: 1, thresholds, expected };
}

/** The same exits as another router chose, given to other prompts: random at matched cost and matched shares. */
export function permuted(rows: readonly Seen[], played: readonly Played[], seed: number): Outcome {
  const order = shuffled(rows.length, seed);
  return outcome(rows.map((row, at) => ended(row, played[order[at] ?? 0]?.exit ?? 0, "prompt")));
}

/**
 * Who knows every label: prompts are taken from the shallowest exit to the cheapest that is right, those that cost the
 * least first; the last point has them all.
 */
export function oracle(rows: readonly Seen[]): Router {
  const base = rows.map((row) => ended(row, row.exits[0] ?? 0, "prompt"));
  const best = rows.map((row, at) => {
    const exit = row.exits.find((_, index) => row.right[index] === true);
    return exit === undefined ? base[at]! : ended(row, exit, "prompt");
  });
  const dearer = rows
    .map((_, at) => at)
    .filter((at) => best[at]!.exit !== base[at]!.exit)
    .toSorted((a, b) => best[a]!.cost - base[a]!.cost - (best[b]!.cost - base[b]!.cost));
  const points = Array.from({ length: SWEEP + 1 }, (_, step) => {
    const taken = new Set(dearer.slice(0, Math.round((step / SWEEP) * dearer.length)));
    return outcome(rows.map((__, at) => (taken.has(at) ? best[at]! : base[at]!)));
  });
  return { name: "oracle", points };
}
