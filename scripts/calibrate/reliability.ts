/** How far probabilities can be believed: predicted against observed, in bins of equal size. Pure. */

/** Bins of the diagram. */
const BINS = 10;

export interface Bin {
  /** Mean probability in the bin. */
  readonly predicted: number;
  /** Share of true labels in it. */
  readonly observed: number;
  readonly rows: number;
}

export interface Reliability {
  readonly bins: readonly Bin[];
  /** Expected calibration error: mean |predicted − observed| over the rows (Naeini et al. 2015, with bins of equal size). */
  readonly error: number;
}

export function reliability(scores: readonly number[], labels: readonly boolean[]): Reliability {
  const order = scores
    .map((score, at) => ({ score, label: labels[at] === true }))
    .toSorted((a, b) => a.score - b.score);
  const bins: Bin[] = [];
  for (let bin = 0; bin < BINS; bin++) {
    const rows = order.slice(Math.floor((bin / BINS) * order.length), Math.floor(((bin + 1) / BINS) * order.length));
    if (rows.length === 0) continue;
    bins.push({
      predicted: rows.reduce((sum, { score }) => sum + score, 0) / rows.length,
      observed: rows.filter(({ label }) => label).length / rows.length,
      rows: rows.length,
    });
  }
  const off = bins.reduce((sum, bin) => sum + Math.abs(bin.predicted - bin.observed) * bin.rows, 0);
  return { bins, error: off / Math.max(scores.length, 1) };
}
