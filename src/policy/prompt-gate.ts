/** Gate 1: from the prompt's text alone, how likely each exit's answer is as good as the deepest exit's. Pure. */
import type { Message } from "../conversation.ts";
import { sigmoid } from "./logistic.ts";
import type { Router } from "./router.ts";
import { promptFeatures, type Features } from "./text-features.ts";

/** Probability per exit, in the order of `router.exits`. */
export function scoreFeatures(router: Router, features: Features): number[] {
  return router.exits.map((_, row) => {
    let sum = 0;
    for (const [bucket, value] of features) sum += (router.promptWeights[row * router.buckets + bucket] ?? 0) * value;
    return sigmoid(sum * (router.promptScale[row] ?? 0) + (router.promptBias[row] ?? 0));
  });
}

/** {@link scoreFeatures} of a conversation. */
export function scorePrompt(router: Router, messages: readonly Message[]): number[] {
  return scoreFeatures(router, promptFeatures(messages, router.buckets));
}
