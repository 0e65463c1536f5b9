/** One answer as it grows: chunks in, what there is to show out. Pure. */
import type { Failure } from "./failure.ts";
import type { ChatChunk } from "./wire.ts";

export type Tier = "edge" | "origin";

export interface Token {
  readonly text: string;
  readonly exit: number;
  /** Probability that the exit gave it, 0 to 1. */
  readonly confidence: number;
}

export type AnswerState = "waiting" | "streaming" | "done" | "stopped" | "failed";

export interface Answer {
  readonly model: string;
  readonly state: AnswerState;
  readonly requestId: string | null;
  /** The exit and tier that spoke last; null before the first is decided. */
  readonly exit: number | null;
  readonly tier: Tier | null;
  /** `x-sortie-route`: the gate, its score, its reason. */
  readonly route: string | null;
  readonly cache: string | null;
  readonly text: string;
  readonly tokens: readonly Token[];
  /** Milliseconds from the request; null before the first token. */
  readonly firstTokenMs: number | null;
  readonly lastTokenMs: number | null;
  /** Dollars in text, as the server says them; null before the end. */
  readonly costUsd: string | null;
  readonly fullDepthCostUsd: string | null;
  readonly failure: Failure | null;
}

export function newAnswer(model: string): Answer {
  return {
    model,
    state: "waiting",
    requestId: null,
    exit: null,
    tier: null,
    route: null,
    cache: null,
    text: "",
    tokens: [],
    firstTokenMs: null,
    lastTokenMs: null,
    costUsd: null,
    fullDepthCostUsd: null,
    failure: null,
  };
}

/** The headers say the first decision. */
export function withHeaders(answer: Answer, headers: Headers): Answer {
  const exit = Number.parseInt(headers.get("x-sortie-exit") ?? "", 10);
  return {
    ...answer,
    state: "streaming",
    requestId: headers.get("x-request-id"),
    exit: Number.isNaN(exit) ? null : exit,
    tier: headers.get("x-sortie-tier") as Tier | null,
    route: headers.get("x-sortie-route"),
    cache: headers.get("x-sortie-cache"),
  };
}

/** @param elapsedMs since the request was sent */
export function withChunk(answer: Answer, { choices: [choice], sortie }: ChatChunk, elapsedMs: number): Answer {
  if (sortie !== undefined && "tokens" in sortie) {
    const texts = choice?.logprobs?.content ?? [];
    const tokens = sortie.tokens.map((token, index) => ({ ...token, text: texts[index]?.token ?? "" }));
    return {
      ...answer,
      text: answer.text + (choice?.delta.content ?? ""),
      tokens: [...answer.tokens, ...tokens],
      exit: tokens.at(-1)?.exit ?? answer.exit,
      firstTokenMs: answer.firstTokenMs ?? elapsedMs,
      lastTokenMs: elapsedMs,
    };
  }
  if (sortie === undefined) return answer;
  const served = { ...answer, exit: sortie.exit, tier: sortie.tier, route: sortie.route };
  if (!("cost_usd" in sortie)) return served;
  return { ...served, costUsd: sortie.cost_usd, fullDepthCostUsd: sortie.full_depth_cost_usd };
}

/** Tokens below which a speed says more about the network's packets than about the model. */
const MIN_TOKENS_FOR_SPEED = 8;

/** Tokens a second while writing; null while there are too few to say. */
export function tokensPerSecond({ tokens, firstTokenMs, lastTokenMs }: Answer): number | null {
  if (tokens.length < MIN_TOKENS_FOR_SPEED || firstTokenMs === null || lastTokenMs === null) return null;
  return ((tokens.length - 1) * 1_000) / (lastTokenMs - firstTokenMs);
}

/** Tokens that each exit made, shallowest first. */
export function tokensByExit({ tokens }: Answer): readonly (readonly [exit: number, tokens: number])[] {
  const counts = new Map<number, number>();
  for (const { exit } of tokens) counts.set(exit, (counts.get(exit) ?? 0) + 1);
  return [...counts].toSorted(([a], [b]) => a - b);
}

/** Share of the deepest exit's price that was saved, 0 to 1; null before the end. */
export function saved({ costUsd, fullDepthCostUsd }: Answer): number | null {
  const full = Number(fullDepthCostUsd);
  if (costUsd === null || fullDepthCostUsd === null) return null;
  return full === 0 ? 0 : 1 - Number(costUsd) / full;
}
