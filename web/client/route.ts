/** `x-sortie-route` for people: which gate decided, by what score, and where an answer went deeper. Pure. */
import type { Answer } from "./answer.ts";

export interface Verdict {
  /** e.g. `prefill`; null when no gate was asked. */
  readonly gate: string | null;
  readonly reason: string | null;
  /** Everything else that the header says, in its order. */
  readonly details: readonly (readonly [name: string, value: string])[];
}

/** Reads `name=value` pairs; a word alone is a detail without a value. */
export function readRoute(route: string): Verdict {
  const pairs = route.split(";").map((part): [string, string] => {
    const [name = "", ...value] = part.trim().split("=");
    return [name, value.join("=")];
  });
  const valueOf = (wanted: string): string | null => pairs.find(([name]) => name === wanted)?.[1] ?? null;
  const gate = valueOf("gate");
  return {
    gate: gate === "none" ? null : gate,
    reason: valueOf("reason"),
    details: pairs.filter(([name]) => name !== "gate" && name !== "reason"),
  };
}

const GATES: Readonly<Record<string, string>> = {
  prompt: "Gate 1 read the text",
  prefill: "Gate 2 read the prompt's hidden states",
  decode: "Gate 3 watched the tokens",
};

const REASONS: Readonly<Record<string, string>> = {
  easy: "easy enough for this exit",
  hard: "too hard for a shallower exit",
  fixed: "you chose the exit",
  uncalibrated: "the model is not calibrated, so the deepest exit answers",
  "no-origin": "deeper exits are not deployed",
};

/** One sentence. */
export function verdictText(route: string): string {
  const { gate, reason, details } = readRoute(route);
  if (details.some(([name]) => name === "degraded")) return "The origin cannot be reached: the edge answers alone.";
  const who = gate === null ? "No gate was asked" : (GATES[gate] ?? `Gate “${gate}” decided`);
  const why = reason === null ? null : (REASONS[reason] ?? reason);
  return `${who}${why === null ? "" : `: ${why}`}.`;
}

/** Where an answer went on at a deeper exit. */
export interface Escalation {
  /** Index of the first token that the deeper exit made. */
  readonly at: number;
  readonly to: number;
}

/** Before the first token when gate 2 handed the prompt over; later where a token's exit is deeper than the one before. */
export function escalations({ route, tier, tokens }: Answer): Escalation[] {
  const found: Escalation[] = [];
  const first = tokens[0];
  const handedOver = route !== null && tier === "origin" && readRoute(route).gate === "prefill";
  if (first !== undefined && handedOver) found.push({ at: 0, to: first.exit });
  for (const [at, { exit }] of tokens.entries()) {
    const before = tokens[at - 1];
    if (before !== undefined && exit > before.exit) found.push({ at, to: exit });
  }
  return found;
}
