/** Gate 1 for a prompt: what the router says of it, among the exits that may answer right now. */
import type { Catalogue } from "./catalogue.ts";
import { exitsAtEdge, type Settings } from "./env.ts";
import { limitDepth, type Deployment, type ExitsAsked } from "./exits.ts";
import { log } from "./log.ts";
import { scorePrompt } from "./policy/prompt-gate.ts";
import { decideByPrompt, reachable, type Calibrated, type Circumstances, type PromptDecision } from "./policy/route.ts";
import { targetFor } from "./policy/targets.ts";
import type { EncodedPrompt } from "./prompt.ts";
import type { Plan } from "./serve.ts";
import type { TierHealth } from "./tier-health.ts";

interface Deps {
  readonly settings: Settings;
  readonly catalogue: Catalogue;
  /** null: none is configured. */
  readonly origin: unknown;
  readonly health: TierHealth;
}

/** The deployment as it stands now. */
export function deploymentOf({ settings, catalogue: { bundle }, origin, health }: Deps): Deployment {
  const seen = health.view(Date.now());
  return {
    name: bundle.name,
    exits: bundle.exits,
    edgeExits: exitsAtEdge(settings, bundle.exits),
    origin: origin === null ? "absent" : seen.origin,
    edge: seen.edge,
  };
}

/** What the router says of a prompt; null without one. @param quality null: the router's default */
export function calibration(
  { router }: Pick<Catalogue, "router">,
  { messages }: Pick<EncodedPrompt, "messages">,
  quality: number | null,
): Calibrated | null {
  if (router === null) return null;
  const scores = scorePrompt(router.prompt, messages);
  return {
    scores: new Map(router.exits.map((exit, at) => [exit, scores[at] ?? 0])),
    targetOf: (exits) => targetFor(router.cascades, exits, quality ?? router.defaultQuality),
  };
}

/** @param limits what the payment allows, and how the origin may make tokens */
export function decide(
  { settings, catalogue }: Pick<Deps, "settings" | "catalogue">,
  requestId: string,
  { policy, quality, ...asked }: ExitsAsked,
  prompt: EncodedPrompt,
  { maxExit, earlyExit }: { readonly maxExit: number | null; readonly earlyExit: number | null },
): Plan {
  const circumstances = limitDepth(asked.circumstances, maxExit);
  const calibrated = calibration(catalogue, prompt, quality);
  const decideNow = (now: Circumstances): PromptDecision => decideByPrompt(policy, calibrated, now);
  const decision = decideNow(circumstances);
  const shadowed = policy.kind === "auto" ? settings.shadowQuality : null;
  const shadow = shadowed ? calibration(catalogue, prompt, shadowed) : null;
  if (shadow !== null) {
    const { exit, tier, reason } = decideByPrompt(policy, shadow, circumstances);
    log("route.shadow", { request_id: requestId, exit, tier, reason, live_exit: decision.exit });
  }
  const exits = reachable(circumstances);
  return {
    decision,
    decide: decideNow,
    policy,
    circumstances,
    earlyExit,
    shadow: shadow?.targetOf(exits) ?? null,
  };
}
