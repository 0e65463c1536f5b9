/**
 * How routers are compared, as in the literature (RouteLLM, Ong et al. 2024), for more than two exits. Pure.
 *
 * Cost is normalised: 0 is the shallowest exit for every prompt, 1 the deepest. PGR, the performance gap recovered, is
 * (quality − shallowest) / (deepest − shallowest). A curve joins the points of one router by straight lines, from
 * (0, 0) to (1, 1): between two points prompts are sent either way in proportion.
 *
 * - APGR: the mean PGR over all costs, i.e. the area under the curve. A mix of shallowest and deepest has 0.5.
 * - CPT(x): the least cost at which PGR reaches x.
 */

/** Right answers and layers · tokens, a prompt each. */
export interface Outcome {
  readonly right: ArrayLike<number>;
  readonly cost: ArrayLike<number>;
}

/** A router at every setting of its knob. */
export interface Router {
  readonly name: string;
  readonly points: readonly Outcome[];
}

/** What everything is measured against. */
export interface Ends {
  readonly shallowest: Outcome;
  readonly deepest: Outcome;
}

export interface CurvePoint {
  /** Normalised. */
  readonly cost: number;
  readonly pgr: number;
}

export type Weights = ArrayLike<number>;

export function weighted(values: ArrayLike<number>, weights: Weights): number {
  let sum = 0;
  for (let at = 0; at < values.length; at++) sum += (values[at] ?? 0) * (weights[at] ?? 0);
  return sum;
}

/** Ascending by cost, with both ends. */
export function curveOf({ points }: Router, { shallowest, deepest }: Ends, weights: Weights): CurvePoint[] {
  const [lowCost, highCost] = [weighted(shallowest.cost, weights), weighted(deepest.cost, weights)];
  const [lowRight, highRight] = [weighted(shallowest.right, weights), weighted(deepest.right, weights)];
  const inner = points.map(({ cost, right }) => ({
    cost: (weighted(cost, weights) - lowCost) / (highCost - lowCost),
    pgr: (weighted(right, weights) - lowRight) / (highRight - lowRight),
  }));
  const within = inner.filter(({ cost }) => cost > 0 && cost < 1).toSorted((a, b) => a.cost - b.cost);
  return [{ cost: 0, pgr: 0 }, ...within, { cost: 1, pgr: 1 }];
}

export function apgr(curve: readonly CurvePoint[]): number {
  let area = 0;
  for (const [at, { cost, pgr }] of curve.entries()) {
    const before = curve[at - 1];
    if (before) area += (cost - before.cost) * ((pgr + before.pgr) / 2);
  }
  return area;
}

/** @returns 1 when only the deepest exit reaches it */
export function cpt(curve: readonly CurvePoint[], share: number): number {
  for (const [at, { cost, pgr }] of curve.entries()) {
    const before = curve[at - 1];
    if (before === undefined || pgr < share) continue;
    return before.cost + ((share - before.pgr) / (pgr - before.pgr)) * (cost - before.cost);
  }
  return 1;
}
