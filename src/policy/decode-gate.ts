/**
 * Gate 3: the confidences of the tokens so far, by their quantiles. (A sum of log-probabilities is biased by length and
 * loses to random: Gupta et al. 2024, "Language Model Cascades: Token-level uncertainty and beyond".) Pure.
 */
import { logit, sigmoid } from "./logistic.ts";

/** The quantiles that are read: 0 is the least sure token. */
export const CONFIDENCE_QUANTILES = [0, 0.25, 0.5] as const;

/** Names of the inputs, in the order of the weights. */
export const DECODE_FEATURES = ["prefill_logit", ...CONFIDENCE_QUANTILES.map((q) => `q${q}`), "log_tokens"] as const;

export interface DecodeModel {
  /** One a {@link DECODE_FEATURES}. */
  readonly weights: readonly number[];
  readonly bias: number;
}

/** @param confidences probability of the most probable token, one a token so far, ascending; at least one */
export function decodeFeatures(prefillScore: number, confidences: readonly number[]): number[] {
  const at = (q: number): number => confidences[Math.floor(q * (confidences.length - 1))] ?? 0;
  return [logit(prefillScore), ...CONFIDENCE_QUANTILES.map((q) => logit(at(q))), Math.log(confidences.length)];
}

/** Probability that the exit's whole answer will be as good as the deepest exit's. */
export function scoreDecode(model: DecodeModel, prefillScore: number, confidences: readonly number[]): number {
  const features = decodeFeatures(prefillScore, confidences);
  return sigmoid(features.reduce((sum, value, at) => sum + value * (model.weights[at] ?? 0), model.bias));
}

/** The confidences of one answer as they come. */
export class RunningConfidence {
  readonly #sorted: number[] = [];

  /** Takes the next token's. @returns all so far, ascending */
  push(confidence: number): readonly number[] {
    const at = this.#sorted.findIndex((other) => other > confidence);
    this.#sorted.splice(at === -1 ? this.#sorted.length : at, 0, confidence);
    return this.#sorted;
  }
}
