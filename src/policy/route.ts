/** The exit choice: scores and circumstances in, a decision with its reason out. Pure. */
import type { Route } from "../conversation.ts";
import type { ExitPolicy } from "./selection.ts";

/** What the decision may assume of the deployment right now. */
export interface Circumstances {
  /** All exits of the bundle, ascending. */
  readonly exits: readonly number[];
  /** The exits the edge serves: a prefix of `exits`. */
  readonly edgeExits: readonly number[];
  /** false when no origin is configured. */
  readonly originConfigured: boolean;
}

/** The verdict before anything is computed. */
export interface PromptDecision extends Route {
  /** Where gate 2 sends the rest when it finds the prompt hard; null: the edge answers whatever gate 2 would say. */
  readonly escalateTo: number | null;
  /** Gate 1's probability for `exit`; null when the exit was not the router's choice. */
  readonly score: number | null;
}

const round = (score: number): string => score.toFixed(3);

/** The deepest exit of a list that is never empty. */
const deepest = (exits: readonly number[]): number => Math.max(...exits);

/**
 * Gate 1's decision: the first exit whose score reaches the threshold, otherwise the deepest.
 * @param scores probability per exit, in the order of `exits`; null when there is no router
 */
export function decideByPrompt(
  policy: ExitPolicy,
  scores: readonly number[] | null,
  threshold: number,
  now: Circumstances,
): PromptDecision {
  if (policy.kind === "fixed") {
    const tier = now.edgeExits.includes(policy.exit) ? "edge" : "origin";
    return { exit: policy.exit, tier, reason: "gate=none; reason=fixed", escalateTo: null, score: null };
  }
  const reachable = now.originConfigured ? now.exits : now.edgeExits;
  if (scores === null) {
    const exit = deepest(reachable);
    const tier = now.edgeExits.includes(exit) ? "edge" : "origin";
    return { exit, tier, reason: "gate=none; reason=uncalibrated", escalateTo: null, score: null };
  }
  const good = now.exits.findIndex((_, index) => (scores[index] ?? 0) >= threshold);
  const wanted = good === -1 ? deepest(now.exits) : (now.exits[good] ?? deepest(now.exits));
  const score = scores[now.exits.indexOf(wanted)] ?? 0;
  const verdict = `gate=prompt; score=${round(score)}; threshold=${round(threshold)}`;
  if (now.edgeExits.includes(wanted)) {
    const escalateTo = now.originConfigured ? originExit(scores, threshold, wanted, now) : null;
    return { exit: wanted, tier: "edge", reason: `${verdict}; reason=easy`, escalateTo, score };
  }
  if (!now.originConfigured) {
    return {
      exit: deepest(now.edgeExits),
      tier: "edge",
      reason: `${verdict}; reason=no-origin`,
      escalateTo: null,
      score,
    };
  }
  return { exit: wanted, tier: "origin", reason: `${verdict}; reason=hard`, escalateTo: null, score };
}

/** The decision for an answer that goes where another of the same prompt went: no gate is asked again. */
export function decidedAlready({ exit, tier, reason }: Route): PromptDecision {
  return { exit, tier, reason, escalateTo: null, score: null };
}

/** The first exit beyond the edge that gate 1 trusts, otherwise the deepest; null when the edge has them all. */
function originExit(scores: readonly number[], threshold: number, from: number, now: Circumstances): number | null {
  const beyond = now.exits.filter((exit) => exit > from && !now.edgeExits.includes(exit));
  if (beyond.length === 0) return null;
  return beyond.find((exit) => (scores[now.exits.indexOf(exit)] ?? 0) >= threshold) ?? deepest(beyond);
}

/** Gate 2's decision at the edge: go on, or hand off. */
export function decideByPrefill(
  score: number,
  threshold: number,
): { readonly handoff: boolean; readonly reason: string } {
  const handoff = score < threshold;
  const verdict = `gate=prefill; score=${round(score)}; threshold=${round(threshold)}`;
  return { handoff, reason: `${verdict}; reason=${handoff ? "hard" : "easy"}` };
}
