/** Limited-memory BFGS (Nocedal and Wright, Numerical Optimization, algorithm 7.5): deterministic, for smooth convex functions. */

/** Pairs of steps and changes of the gradient that are remembered. */
const MEMORY = 10;
const MAX_ITERATIONS = 200;
/** The gradient's largest component at which the minimum counts as reached. */
const TOLERANCE = 1e-6;
/** Share of the slope's promise that a step must keep (Armijo), and the factor of a step that does not. */
const ENOUGH = 1e-4;
const SHORTER = 0.5;
const MAX_SHORTENINGS = 30;

/** Value at `x`; the gradient there is written to `gradient`. */
export type Objective = (x: Float64Array, gradient: Float64Array) => number;

/** A step, the gradient's change along it, and 1 / (their product). */
interface Pair {
  readonly step: Float64Array;
  readonly change: Float64Array;
  readonly rho: number;
}

/** Where `objective` of `size` variables is least, from 0 on; the best point found when it has not converged. */
export function minimise(objective: Objective, size: number): Float64Array {
  let x = new Float64Array(size);
  let gradient = new Float64Array(size);
  let value = objective(x, gradient);
  const pairs: Pair[] = [];
  for (let iteration = 0; iteration < MAX_ITERATIONS && largest(gradient) > TOLERANCE; iteration++) {
    const direction = descent(gradient, pairs);
    const slope = dot(direction, gradient);
    let length = pairs.length === 0 ? 1 / Math.max(largest(gradient), 1) : 1;
    const next = new Float64Array(size);
    const nextGradient = new Float64Array(size);
    let nextValue = Infinity;
    for (let shortening = 0; shortening < MAX_SHORTENINGS; shortening++, length *= SHORTER) {
      for (let i = 0; i < size; i++) next[i] = x[i]! + length * direction[i]!;
      nextValue = objective(next, nextGradient);
      if (nextValue <= value + ENOUGH * length * slope) break;
    }
    if (!(nextValue < value)) break; // as low as the numbers' precision lets it come
    const step = next.map((to, i) => to - x[i]!);
    const change = nextGradient.map((to, i) => to - gradient[i]!);
    const curvature = dot(step, change);
    if (curvature > 0) pairs.push({ step, change, rho: 1 / curvature });
    if (pairs.length > MEMORY) pairs.shift();
    [x, gradient, value] = [next, nextGradient, nextValue];
  }
  return x;
}

/** −H · gradient, H the inverse Hessian as the pairs know it (the two-loop recursion). */
function descent(gradient: Float64Array, pairs: readonly Pair[]): Float64Array {
  const direction = gradient.map((g) => -g);
  const taken: number[] = [];
  for (const { step, change, rho } of pairs.toReversed()) {
    const factor = rho * dot(step, direction);
    taken.unshift(factor);
    addScaled(direction, change, -factor);
  }
  const last = pairs.at(-1);
  if (last !== undefined) {
    const scale = 1 / (last.rho * dot(last.change, last.change));
    for (let i = 0; i < direction.length; i++) direction[i]! *= scale;
  }
  for (const [at, { step, change, rho }] of pairs.entries()) {
    addScaled(direction, step, taken[at]! - rho * dot(change, direction));
  }
  return direction;
}

function dot(a: Float64Array, b: Float64Array): number {
  let sum = 0;
  for (let i = 0; i < a.length; i++) sum += a[i]! * b[i]!;
  return sum;
}

function addScaled(to: Float64Array, values: Float64Array, factor: number): void {
  for (let i = 0; i < to.length; i++) to[i]! += factor * values[i]!;
}

function largest(values: Float64Array): number {
  let most = 0;
  for (const value of values) most = Math.max(most, Math.abs(value));
  return most;
}
