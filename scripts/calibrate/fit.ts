/** Logistic regression with a ridge penalty, sparse or dense: deterministic, for gates of some thousand weights. */
import { sigmoid } from "../../src/policy/logistic.ts";
import type { Features } from "../../src/policy/text-features.ts";
import { minimise } from "./lbfgs.ts";
import { shuffled } from "./random.ts";

/** Largest magnitude of a quantised weight. */
const INT8_MAX = 127;
/** Parts of a cross-fit. */
const FOLDS = 5;
/** Order of the folds. */
const SEED = 5;

export interface LinearModel {
  readonly weights: Float64Array;
  readonly bias: number;
}

/**
 * Minimises mean log loss + l2/2·‖w‖² over rows; the bias is not penalised.
 * @param size number of weights
 */
export function fitLogistic(
  rows: readonly Features[],
  labels: readonly boolean[],
  size: number,
  l2: number,
): LinearModel {
  const found = minimise((x, gradient) => {
    const bias = x[size] ?? 0;
    let penalty = 0;
    for (let i = 0; i < size; i++) {
      const weight = x[i] ?? 0;
      gradient[i] = l2 * weight;
      penalty += weight * weight;
    }
    gradient[size] = 0;
    let loss = 0;
    for (const [at, { buckets, values }] of rows.entries()) {
      let logit = bias;
      for (let i = 0; i < buckets.length; i++) logit += (x[buckets[i] ?? 0] ?? 0) * (values[i] ?? 0);
      const sign = labels[at] === true ? 1 : -1;
      loss += softplus(-sign * logit);
      const error = (-sign * sigmoid(-sign * logit)) / rows.length;
      for (let i = 0; i < buckets.length; i++) gradient[buckets[i] ?? 0]! += error * (values[i] ?? 0);
      gradient[size]! += error;
    }
    return loss / Math.max(rows.length, 1) + (l2 / 2) * penalty;
  }, size + 1);
  return { weights: found.slice(0, size), bias: found[size] ?? 0 };
}

/** ln(1 + e^x), finite for every finite x. */
function softplus(x: number): number {
  return Math.max(x, 0) + Math.log1p(Math.exp(-Math.abs(x)));
}

/** The logit of one row. */
export function predict({ weights, bias }: LinearModel, { buckets, values }: Features): number {
  let sum = bias;
  for (let i = 0; i < buckets.length; i++) sum += (weights[buckets[i] ?? 0] ?? 0) * (values[i] ?? 0);
  return sum;
}

/** A dense vector as features. */
export function dense(values: ArrayLike<number>): Features {
  return { buckets: Uint32Array.from({ length: values.length }, (_, at) => at), values: Float32Array.from(values) };
}

/** Logits of rows by models that have not seen them: what a fitted model says of its own rows is too good. */
export function crossFit(rows: readonly Features[], labels: readonly boolean[], size: number, l2: number): number[] {
  const scores: number[] = [];
  const order = shuffled(rows.length, SEED);
  for (let fold = 0; fold < FOLDS; fold++) {
    const held = new Set(order.filter((_, at) => at % FOLDS === fold));
    const others = rows.map((_, at) => at).filter((at) => !held.has(at));
    const model = fitLogistic(
      others.map((at) => rows[at] as Features),
      others.map((at) => labels[at] === true),
      size,
      l2,
    );
    for (const at of held) scores[at] = predict(model, rows[at] as Features);
  }
  return scores;
}

/** A model, and what it would say of its rows had it not seen them. */
export interface Fitted {
  readonly model: LinearModel;
  readonly l2: number;
  /** Out of fold, calibrated logits. */
  readonly heldOut: readonly number[];
}

/**
 * Fits with the ridge penalty that predicts best out of fold, and calibrates the logits on the same out-of-fold scores
 * (Platt 1999).
 */
export function fitCalibrated(
  rows: readonly Features[],
  labels: readonly boolean[],
  size: number,
  penalties: readonly number[],
): Fitted {
  const tried = penalties.map((l2) => {
    const scores = crossFit(rows, labels, size, l2);
    const platt = fitPlatt(scores, labels);
    const heldOut = scores.map((score) => score * platt.slope + platt.offset);
    return { l2, platt, heldOut, loss: logLoss(heldOut, labels) };
  });
  const { l2, platt, heldOut } = tried.reduce((best, next) => (next.loss < best.loss ? next : best));
  const { weights, bias } = fitLogistic(rows, labels, size, l2);
  const model = { weights: weights.map((weight) => weight * platt.slope), bias: bias * platt.slope + platt.offset };
  return { model, l2, heldOut };
}

/** Mean negative log-likelihood of labels under logits, nats. */
export function logLoss(logits: readonly number[], labels: readonly boolean[]): number {
  const losses = logits.map((logit, at) => softplus(labels[at] === true ? -logit : logit));
  return losses.reduce((sum, loss) => sum + loss, 0) / Math.max(losses.length, 1);
}

/** Platt scaling: the slope and offset that turn a score into a calibrated logit, fitted on rows the model never saw. */
export function fitPlatt(scores: readonly number[], labels: readonly boolean[]): { slope: number; offset: number } {
  const { weights, bias } = fitLogistic(
    scores.map((score) => dense([score])),
    labels,
    1,
    0,
  );
  // A score that says nothing, or the opposite, is not turned round: noise would be read as knowledge.
  const slope = weights[0] ?? 1;
  if (slope > 0) return { slope, offset: bias };
  const share = labels.filter(Boolean).length / Math.max(labels.length, 1);
  return { slope: 0, offset: Math.log(Math.max(share, 1e-3) / Math.max(1 - share, 1e-3)) };
}

/** Weights as int8 with one scale: `weight ≈ scale · int8`. */
export function quantise(weights: Float64Array): { values: Int8Array; scale: number } {
  const largest = weights.reduce((max, weight) => Math.max(max, Math.abs(weight)), 0);
  const scale = largest === 0 ? 1 : largest / INT8_MAX;
  return { values: Int8Array.from(weights, (weight) => Math.round(weight / scale)), scale };
}

/** Area under the ROC curve, ties counted half (Mann–Whitney); NaN when one class is missing. */
export function areaUnderCurve(scores: readonly number[], labels: readonly boolean[]): number {
  const order = scores
    .map((score, index) => ({ score, label: labels[index] === true }))
    .sort((a, b) => a.score - b.score);
  let rankSum = 0;
  for (let start = 0; start < order.length;) {
    let end = start;
    while (end < order.length && order[end]?.score === order[start]?.score) end++;
    const meanRank = (start + 1 + end) / 2;
    for (const { label } of order.slice(start, end)) if (label) rankSum += meanRank;
    start = end;
  }
  const positives = labels.filter(Boolean).length;
  const negatives = labels.length - positives;
  return (rankSum - (positives * (positives + 1)) / 2) / (positives * negatives);
}
