/**
 * Gate 2: what reading the prompt produced anyway, hidden states and the first token's distribution, beside gate 1's
 * score. Pure.
 */
import { logit, sigmoid } from "./logistic.ts";

/** The first answer token's distribution at the exit that read the prompt. */
export interface FirstToken {
  /** Probability of the most probable token. */
  readonly top1: number;
  /** top1 minus the second probability. */
  readonly margin: number;
  /** Nats. */
  readonly entropy: number;
}

/** What the probe sees. */
export interface Prefilled {
  readonly firstToken: FirstToken;
  /** `[d]`, the last prompt token's hidden state at the exit, before the final norm. */
  readonly hiddenLast: Float32Array;
  /** `[d]`, mean over the prompt. */
  readonly hiddenMean: Float32Array;
}

/** A linear probe of one exit. */
export interface Probe {
  /** As many as {@link prefillFeatures} has, for a hidden size of d: 4 + 2d. */
  readonly weights: Float32Array;
  readonly bias: number;
}

/** Features that are no hidden state, in their order. */
export const PREFILL_SCALARS = ["prompt_logit", "top1_logit", "margin", "entropy"] as const;

/** `[4 + 2d]`: {@link PREFILL_SCALARS}, then both hidden states, each divided by its root mean square as the final norm would. */
export function prefillFeatures(promptScore: number, { firstToken, hiddenLast, hiddenMean }: Prefilled): Float32Array {
  const scalars = [logit(promptScore), logit(firstToken.top1), firstToken.margin, firstToken.entropy];
  const features = new Float32Array(scalars.length + hiddenLast.length + hiddenMean.length);
  features.set(scalars);
  features.set(normed(hiddenLast), scalars.length);
  features.set(normed(hiddenMean), scalars.length + hiddenLast.length);
  return features;
}

/** Probability that the exit which read the prompt answers as well as the deepest. */
export function scorePrefill(probe: Probe, promptScore: number, seen: Prefilled): number {
  const features = prefillFeatures(promptScore, seen);
  let sum = probe.bias;
  for (let i = 0; i < features.length; i++) sum += (features[i] ?? 0) * (probe.weights[i] ?? 0);
  return sigmoid(sum);
}

function normed(vector: Float32Array): Float32Array {
  let square = 0;
  for (const value of vector) square += value * value;
  const rms = Math.sqrt(square / vector.length) || 1;
  return vector.map((value) => value / rms);
}
