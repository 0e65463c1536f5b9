/** The exit choice: scores and circumstances in, a decision with its reason out. Pure. */
import type { Route } from "../conversation.ts";
import type { ExitPolicy } from "./selection.ts";
import type { RangedTarget, Target } from "./targets.ts";

/** How the reason of an answer begins that another tier would have given. */
const DEGRADED = "degraded; ";

/** What the decision may assume of the deployment right now. */
export interface Circumstances {
  /** The exits that may answer, ascending. */
  readonly exits: readonly number[];
  /** Those of them that the edge serves: a prefix of `exits`. */
  readonly edgeExits: readonly number[];
  /** `absent`: none is configured. `down`: it failed a moment ago. */
  readonly origin: "ready" | "absent" | "down";
  /** `full`, `unavailable`: the pool turned a request away a moment ago. */
  readonly edge: "ready" | "full" | "unavailable";
}

/** The verdict before anything is computed. */
export interface PromptDecision extends Route {
  /** What the edge may still decide; null: the exit is settled. */
  readonly later: LaterGates | null;
}

/** What gates 2 and 3 may do. */
export interface LaterGates {
  /** Exits that the edge tries in turn, the decision's first, with gate 1's scores. */
  readonly ladder: readonly { readonly exit: number; readonly score: number }[];
  /** Where gate 2 hands off to when the last of the ladder is not enough; null: that one answers. */
  readonly prefillTo: number | null;
  /** Where gate 3 escalates to. */
  readonly decodeTo: number;
  readonly target: RangedTarget;
}

/** Gate 1's scores by exit, and the thresholds for the exits that may answer; null where the router has none. */
export interface Calibrated {
  readonly scores: ReadonlyMap<number, number>;
  readonly targetOf: (exits: readonly number[]) => RangedTarget | null;
}

/**
 * Gate 1's decision, with what it leaves to the gates after it.
 * @param calibrated null: there is no router, and the deepest exit answers
 */
export function decideByPrompt(policy: ExitPolicy, calibrated: Calibrated | null, now: Circumstances): PromptDecision {
  if (policy.kind === "fixed") return settled(policy.exit, now, "gate=none; reason=fixed");
  const { exits, prefix, circumstance } = reach(now);
  const deepest = exits.at(-1) ?? 0;
  if (exits.length === 1) return settled(deepest, now, `${prefix}gate=none; reason=${circumstance ?? "only-exit"}`);
  const target = calibrated?.targetOf(exits) ?? null;
  if (calibrated === null || target === null) {
    return settled(deepest, now, `${prefix}gate=none; reason=${circumstance ?? "uncalibrated"}`);
  }
  const alone = now.edge !== "ready" && now.origin === "ready";
  const threshold = alone ? target.thresholds.alone : target.thresholds.prompt;
  const score = (exit: number): number => calibrated.scores.get(exit) ?? 0;
  const trusted = (among: readonly number[]): number => among.find((one) => score(one) >= threshold) ?? deepest;
  const exit = trusted(exits);
  const verdict = `${prefix}gate=prompt; ${measured(score(exit), threshold)}; ${named(target)}`;
  const easy = score(exit) >= threshold && exit < deepest ? "easy" : "hard";
  if (alone) return { exit, tier: "origin", reason: `${verdict}; reason=${circumstance}`, later: null };
  const reason = `${verdict}; reason=${circumstance ?? easy}`;
  if (!now.edgeExits.includes(exit)) return { exit, tier: "origin", reason, later: null };
  const ladder = now.edgeExits.filter((other) => other >= exit).map((other) => ({ exit: other, score: score(other) }));
  const beyond = exits.filter((other) => !now.edgeExits.includes(other));
  const later = { ladder, prefillTo: beyond.length === 0 ? null : trusted(beyond), decodeTo: deepest, target };
  return { exit, tier: "edge", reason, later: exit === deepest ? null : later };
}

/** The exits that can answer right now. */
export function reachable(now: Circumstances): readonly number[] {
  return reach(now).exits;
}

/** {@link reachable}, and why these are not all. */
function reach({ exits, edgeExits, origin, edge }: Circumstances): {
  readonly exits: readonly number[];
  readonly prefix: string;
  readonly circumstance: string | null;
} {
  if (origin !== "ready" && edgeExits.length > 0 && edgeExits.length < exits.length) {
    if (origin === "absent") return { exits: edgeExits, prefix: "", circumstance: "no-origin" };
    return { exits: edgeExits, prefix: DEGRADED, circumstance: "origin-down" };
  }
  const turnedAway = edge !== "ready" && origin === "ready" && edgeExits.length > 0;
  return { exits, prefix: "", circumstance: turnedAway ? `edge-${edge}` : null };
}

/** Whether another tier would have given the answer. */
export function isDegraded({ reason }: Route): boolean {
  return reason.startsWith(DEGRADED);
}

/** A route that takes the place of another tier's. */
export function degraded(route: Route): Route {
  return isDegraded(route) ? route : { ...route, reason: `${DEGRADED}${route.reason}` };
}

function settled(exit: number, now: Circumstances, reason: string): PromptDecision {
  return { exit, tier: now.edgeExits.includes(exit) ? "edge" : "origin", reason, later: null };
}

/** The decision for an answer that goes where another of the same prompt went: no gate is asked again. */
export function decidedAlready({ exit, tier, reason }: Route): PromptDecision {
  return { exit, tier, reason, later: null };
}

/** A target as the later gates need it. */
export type Chosen = Pick<RangedTarget, "range" | "quality" | "thresholds">;

/** Whether a gate lets an answer begin, or go on, where it is. */
export function isEnough(
  gate: "prefill" | "decode",
  score: number,
  { thresholds }: Pick<Target, "thresholds">,
): boolean {
  return score >= thresholds[gate];
}

/** {@link isEnough} with its reason. */
export function decideLater(
  gate: "prefill" | "decode",
  score: number,
  target: Chosen,
): { readonly enough: boolean; readonly reason: string } {
  const enough = isEnough(gate, score, target);
  const verdict = `gate=${gate}; ${measured(score, target.thresholds[gate])}; ${named(target)}`;
  return { enough, reason: `${verdict}; reason=${enough ? "easy" : "hard"}` };
}

function named({ quality, range }: Pick<Chosen, "quality" | "range">): string {
  return `quality=${quality}; range=${range}`;
}

function measured(score: number, threshold: number): string {
  return `score=${score.toFixed(3)}; threshold=${threshold.toFixed(3)}`;
}
