/** A quality target to thresholds: the cheapest pair that keeps it on held-out prompts. Pure. */
import type { Circumstances } from "../../src/policy/route.ts";
import { decideByPrompt } from "../../src/policy/route.ts";

/** One held-out prompt: what the gates would see and which exits answer it right. */
export interface Labelled {
  /** Gate 1's probability per exit. */
  readonly promptScores: readonly number[];
  /** Gate 2's probability per exit but the deepest. */
  readonly prefillScores: readonly number[];
  /** Whether each exit's answer passes its checker. */
  readonly right: readonly boolean[];
}

export interface Thresholds {
  readonly prompt: number;
  readonly prefill: number;
}

/** What a pair of thresholds gives on a set of prompts. */
export interface Outcome {
  /** Share of right answers. */
  readonly quality: number;
  /** Mean layers run a token, relative to the deepest exit. */
  readonly cost: number;
  /** Share of answers per tier. */
  readonly edgeShare: number;
  /** Share of answers that gate 2 handed off. */
  readonly handoffShare: number;
}

/** Plays the cascade over labelled prompts. */
export function play(rows: readonly Labelled[], thresholds: Thresholds, now: Circumstances): Outcome {
  const deepest = now.exits.at(-1) ?? 1;
  let [right, layers, edge, handoffs] = [0, 0, 0, 0];
  for (const row of rows) {
    const decision = decideByPrompt({ kind: "auto" }, row.promptScores, thresholds.prompt, now);
    let { exit } = decision;
    const index = now.exits.indexOf(exit);
    const doubted = (row.prefillScores[index] ?? 1) < thresholds.prefill;
    if (decision.tier === "edge" && decision.escalateTo !== null && doubted) {
      exit = decision.escalateTo;
      handoffs += 1;
    } else if (decision.tier === "edge") edge += 1;
    layers += exit / deepest;
    right += row.right[now.exits.indexOf(exit)] === true ? 1 : 0;
  }
  const n = Math.max(rows.length, 1);
  return { quality: right / n, cost: layers / n, edgeShare: edge / n, handoffShare: handoffs / n };
}

/** Candidate thresholds: 0, 0.01, … 1. */
const GRID_STEPS = 100;

/**
 * The cheapest thresholds whose quality is at least `target` times the deepest exit's; of equals the better one.
 */
export function chooseThresholds(
  rows: readonly Labelled[],
  target: number,
  now: Circumstances,
): { thresholds: Thresholds; outcome: Outcome } {
  const deepestQuality = rows.filter((row) => row.right.at(-1) === true).length / Math.max(rows.length, 1);
  const always: Thresholds = { prompt: 1, prefill: 0 };
  let best = { thresholds: always, outcome: play(rows, always, now) };
  for (let i = 0; i <= GRID_STEPS; i++) {
    for (let j = 0; j <= GRID_STEPS; j++) {
      const thresholds = { prompt: i / GRID_STEPS, prefill: j / GRID_STEPS };
      const outcome = play(rows, thresholds, now);
      if (outcome.quality < target * deepestQuality) continue;
      const cheaper = outcome.cost < best.outcome.cost;
      const better = outcome.cost === best.outcome.cost && outcome.quality > best.outcome.quality;
      if (cheaper || better || best.outcome.quality < target * deepestQuality) best = { thresholds, outcome };
    }
  }
  return best;
}
