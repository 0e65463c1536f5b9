/** The logistic function and its inverse: scores in, probabilities out. */

/** 1 / (1 + e^-x), stable at both ends. */
export function sigmoid(x: number): number {
  if (x >= 0) return 1 / (1 + Math.exp(-x));
  const e = Math.exp(x);
  return e / (1 + e);
}

/** ln(p / (1 - p)), with p kept this far from 0 and 1 so that the result is finite. */
const EPSILON = 1e-6;
export function logit(p: number): number {
  const inside = Math.min(1 - EPSILON, Math.max(EPSILON, p));
  return Math.log(inside / (1 - inside));
}
