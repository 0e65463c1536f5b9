/** The cascade over labelled prompts, without a model: which exit ends each answer, at which gate, at what cost. Pure. */
import { RunningConfidence, scoreDecode } from "../../src/policy/decode-gate.ts";
import { scorePrefill } from "../../src/policy/prefill-gate.ts";
import { scorePrompt } from "../../src/policy/prompt-gate.ts";
import { decideByPrompt, isEnough, type Circumstances, type PromptDecision } from "../../src/policy/route.ts";
import type { Router } from "../../src/policy/router.ts";
import type { Target } from "../../src/policy/targets.ts";
import { agreement } from "./label.ts";
import type { Sample } from "./labels.ts";

/** One labelled prompt as the gates see it. Lists are in the order of the bundle's exits. */
export interface Seen {
  readonly exits: readonly number[];
  /** Gate 1, by exit. */
  readonly prompt: ReadonlyMap<number, number>;
  /** Gate 2; 1 at the deepest exit. */
  readonly prefill: readonly number[];
  /** Gate 3's lowest score up to each token; empty at the deepest exit. */
  readonly decode: readonly (readonly number[])[];
  readonly right: readonly boolean[];
  readonly promptTokens: number;
  /** Tokens of each exit's answer. */
  readonly tokens: readonly number[];
  /** Whether an answer begun at exit `from` is right when exit `to` goes on after `sent` tokens. Indices of exits. */
  readonly escalatedRight: (from: number, to: number, sent: number) => boolean;
}

export function seen(router: Router, { row, labels }: Sample): Seen {
  const scores = scorePrompt(router.prompt, row.prompt);
  const deepest = router.exits.length - 1;
  const prefill = router.exits.map((exit, at) => {
    const probe = router.prefill.get(exit);
    return probe ? scorePrefill(probe, scores[at] ?? 0, labels.exits[at]!.prefill) : 1;
  });
  const decode = router.exits.map((exit, at) => {
    const model = router.decode.get(exit);
    if (model === undefined) return [];
    const running = new RunningConfidence();
    let lowest = 1;
    return labels.exits[at]!.confidences.map((confidence) => {
      lowest = Math.min(lowest, scoreDecode(model, prefill[at] ?? 0, running.push(confidence)));
      return lowest;
    });
  });
  function escalatedRight(from: number, to: number, sent: number): boolean {
    const [began, ended] = [labels.exits[from]!, labels.exits[to]!];
    const agreed = agreement(began.answer, ended.answer);
    if (sent <= agreed) return ended.right;
    // Only the deepest exit was tried on words that are not its own; of another exit the words sent count as they are.
    if (to !== deepest) return began.right;
    return began.escalated[Math.min(sent - agreed, began.escalated.length) - 1] ?? began.right;
  }
  return {
    exits: router.exits,
    prompt: new Map(router.exits.map((exit, at) => [exit, scores[at] ?? 0])),
    prefill,
    decode,
    right: labels.exits.map(({ right }) => right),
    promptTokens: labels.promptTokens,
    tokens: labels.exits.map(({ answer }) => answer.length),
    escalatedRight,
  };
}

/** How one answer went. */
export interface Played {
  readonly exit: number;
  /** The gate that decided last. */
  readonly gate: "prompt" | "prefill" | "decode";
  readonly right: boolean;
  /**
   * Layers · tokens of prompt and answer. What an edge exit computed is part of what a deeper one needs, so an answer
   * costs what its last exit costs, whichever gates it passed.
   */
  readonly cost: number;
}

/** Gate 1's part of {@link play}: it depends on the target's prompt thresholds alone. */
export function start(row: Seen, target: Target, now: Circumstances): PromptDecision {
  return decideByPrompt(
    { kind: "auto", quality: null },
    { scores: row.prompt, targetOf: () => ({ ...target, range: "" }) },
    now,
  );
}

/** What gates 2 and 3 make of gate 1's decision. */
export function finish(row: Seen, decision: PromptDecision, target: Target): Played {
  const { later } = decision;
  if (later === null) return ended(row, decision.exit, "prompt");
  let asked = false;
  for (const [rung, { exit }] of later.ladder.entries()) {
    const next = later.ladder[rung + 1]?.exit ?? later.prefillTo;
    const at = row.exits.indexOf(exit);
    if (next !== null && !isEnough("prefill", row.prefill[at] ?? 0, target)) {
      asked = true;
      if (rung + 1 < later.ladder.length) continue;
      return ended(row, next, "prefill");
    }
    const gate = asked || next !== null ? "prefill" : "prompt";
    if (exit === later.decodeTo) return ended(row, exit, gate);
    const doubt = (row.decode[at] ?? []).findIndex((score) => !isEnough("decode", score, target));
    if (doubt === -1) return ended(row, exit, gate);
    const to = row.exits.indexOf(later.decodeTo);
    return { ...ended(row, later.decodeTo, "decode"), right: row.escalatedRight(at, to, doubt + 1) };
  }
  throw new Error("a ladder without rungs");
}

/** Plays one prompt. */
export function play(row: Seen, target: Target, now: Circumstances): Played {
  return finish(row, start(row, target, now), target);
}

/** An answer that one exit gave alone. */
export function ended(row: Seen, exit: number, gate: Played["gate"]): Played {
  const at = row.exits.indexOf(exit);
  return { exit, gate, right: row.right[at] === true, cost: exit * (row.promptTokens + (row.tokens[at] ?? 0)) };
}
