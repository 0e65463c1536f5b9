/** What the router would do with a prompt, and why: nothing is run. */
import type { ChatDeps } from "./chat-deps.ts";
import type { ChatRequest, Message } from "./conversation.ts";
import { calibration, deploymentOf } from "./decide.ts";
import { exitsAsked } from "./exits.ts";
import { explainPrompt, type Contribution } from "./policy/prompt-gate.ts";
import { decideByPrompt, reachable, type Circumstances, type PromptDecision } from "./policy/route.ts";
import type { RangedTarget } from "./policy/targets.ts";
import type { Caller } from "./tenant/api.ts";

/** Features named per exit. */
const FEATURES = 8;

export interface Explanation {
  readonly decision: PromptDecision;
  /** As request, key, tenant and deployment leave it. */
  readonly circumstances: Circumstances;
  /** The target in force; null without calibration, or where there is nothing to choose. */
  readonly target: RangedTarget | null;
  /** By exit of the bundle; empty without calibration. */
  readonly scores: readonly {
    readonly exit: number;
    readonly score: number;
    readonly features: readonly Contribution[];
  }[];
}

/** @throws ApiError as a request for the same would */
export function explain(
  deps: ChatDeps,
  caller: Caller,
  request: Pick<ChatRequest, "model" | "narrowing">,
  messages: readonly Message[],
): Explanation {
  const { policy, quality, circumstances } = exitsAsked(request, caller, deploymentOf(deps));
  const { router } = deps.catalogue;
  const calibrated = calibration(deps.catalogue, { messages }, quality);
  const decision = decideByPrompt(policy, calibrated, circumstances);
  const scores = (router?.exits ?? []).map((exit, row) => ({
    exit,
    score: calibrated?.scores.get(exit) ?? 0,
    features: router === null ? [] : explainPrompt(router.prompt, messages, row, FEATURES),
  }));
  return { decision, circumstances, target: calibrated?.targetOf(reachable(circumstances)) ?? null, scores };
}
