/** Logistic regression by AdaGrad: deterministic, sparse, enough for a gate of a few thousand weights. */
import { sigmoid } from "../../src/policy/logistic.ts";
import type { Features } from "../../src/policy/text-features.ts";

/** Passes over the rows; the loss is flat well before. */
const EPOCHS = 60;
/** AdaGrad's base step. */
const LEARNING_RATE = 0.5;
/** Keeps AdaGrad's first steps finite. */
const ADAGRAD_EPSILON = 1e-8;
/** Largest magnitude of a quantised weight. */
const INT8_MAX = 127;

export interface LinearModel {
  readonly weights: Float64Array;
  readonly bias: number;
}

/**
 * Minimises mean log loss + l2/2·‖w‖² over sparse rows, in the order given.
 * @param size number of weights
 */
export function fitLogistic(
  rows: readonly Features[],
  labels: readonly boolean[],
  size: number,
  l2: number,
): LinearModel {
  const weights = new Float64Array(size);
  const squares = new Float64Array(size + 1);
  let bias = 0;
  const step = (index: number, gradient: number): number => {
    const sum = (squares[index] ?? 0) + gradient * gradient;
    squares[index] = sum;
    return (LEARNING_RATE * gradient) / (Math.sqrt(sum) + ADAGRAD_EPSILON);
  };
  for (let epoch = 0; epoch < EPOCHS; epoch++) {
    for (const [index, row] of rows.entries()) {
      const error = sigmoid(predict({ weights, bias }, row)) - (labels[index] === true ? 1 : 0);
      for (const [bucket, value] of row) {
        const weight = weights[bucket] ?? 0;
        weights[bucket] = weight - step(bucket, error * value + l2 * weight);
      }
      bias -= step(size, error);
    }
  }
  return { weights, bias };
}

/** The logit of one row. */
export function predict(model: LinearModel, row: Features): number {
  let sum = model.bias;
  for (const [bucket, value] of row) sum += (model.weights[bucket] ?? 0) * value;
  return sum;
}

/** Platt scaling: the slope and offset that turn a score into a calibrated logit, fitted on rows the model never saw. */
export function fitPlatt(scores: readonly number[], labels: readonly boolean[]): { slope: number; offset: number } {
  const rows = scores.map((score) => new Map([[0, score]]));
  const { weights, bias } = fitLogistic(rows, labels, 1, 0);
  return { slope: weights[0] ?? 1, offset: bias };
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
