/**
 * Magnitudes that no activation exceeds, by the weights before it. Two digits in steps of such a bound need no search for a
 * row's own magnitude, as long as the bound is not too far above it.
 */

/**
 * A bound over the root mean square of what it bounds, from which two digits in its steps are less than four times as fine
 * as one digit of a row's own: its largest value is some 3.5 root mean squares, and 3.5 / 127 / 4 · 127 · 254 = 222.
 */
const LOOSEST = 222;

/** What bounds activations: `most` none exceeds, `usual` is about their root mean square. */
export interface Limit {
  readonly most: number;
  readonly usual: number;
}

/** Whether fixed steps are fine enough; else a row's own magnitude decides. */
export function isTight({ most, usual }: Limit): boolean {
  return most <= LOOSEST * usual;
}

/** Of an RMS norm: one value alone, all others zero, is √d times the root mean square. @param gains [d]. */
export function normLimit(gains: Float32Array): Limit {
  return { most: Math.sqrt(gains.length) * largest(gains), usual: rootMeanSquare(gains) };
}

/**
 * Of attended values: each is a mean of values, and a value is a row of weights times a vector whose norm is `before.most`
 * at most (Cauchy–Schwarz: √d times the largest gain bounds a normed vector's norm, too), and its bias.
 *
 * @param weights [rows, d] of the values' projection.
 * @param biases [rows].
 */
export function valueLimit(before: Limit, weights: Float32Array, biases: Float32Array): Limit {
  const width = weights.length / biases.length;
  const norms = Array.from(biases, (_, row) => norm(weights.subarray(row * width, (row + 1) * width)));
  return {
    most: largest(norms) * before.most + largest(biases),
    usual: Math.hypot(rootMeanSquare(norms) * before.usual, rootMeanSquare(biases)),
  };
}

type Numbers = Float32Array | readonly number[];

function largest(values: Numbers): number {
  let most = 0;
  for (const value of values) most = Math.max(most, Math.abs(value));
  return most;
}

function norm(values: Numbers): number {
  let sum = 0;
  for (const value of values) sum += value * value;
  return Math.sqrt(sum);
}

function rootMeanSquare(values: Numbers): number {
  return norm(values) / Math.sqrt(values.length);
}
