/** Gate 2: what the prefill produced anyway, the first token's distribution, beside gate 1's score. Pure. */
import { logit, sigmoid } from "./logistic.ts";

/** The first answer token's distribution at the exit that prefilled. */
export interface FirstToken {
  /** Probability of the most probable token. */
  readonly top1: number;
  /** top1 minus the second probability. */
  readonly margin: number;
  /** Nats. */
  readonly entropy: number;
}

/** Names of the probe's inputs, in the order of its weights. */
export const PREFILL_FEATURES = ["prompt_logit", "top1_logit", "margin", "entropy"] as const;

/** The probe's inputs, in the order of {@link PREFILL_FEATURES}. */
export function prefillFeatures(promptScore: number, first: FirstToken): number[] {
  return [logit(promptScore), logit(first.top1), first.margin, first.entropy];
}

/** Probability that the exit which prefilled answers as well as the deepest. */
export function scorePrefill(
  probe: { readonly weights: readonly number[]; readonly bias: number },
  promptScore: number,
  first: FirstToken,
): number {
  const features = prefillFeatures(promptScore, first);
  return sigmoid(features.reduce((sum, value, index) => sum + value * (probe.weights[index] ?? 0), probe.bias));
}
