/** Percentile intervals of ratios by resampling prompts, the same resamples in every run (Efron 1979). */
import { randomFrom } from "./random.ts";

const RESAMPLES = 500;
const SEED = 11;
/** Of the 95 % interval. */
const LOWER = 0.025;
const UPPER = 0.975;

export interface Interval {
  readonly lower: number;
  readonly value: number;
  readonly upper: number;
}

/** How often each of n prompts is drawn, a resample a row: `[RESAMPLES, n]`. */
export function resamples(n: number): Uint8Array {
  const random = randomFrom(SEED);
  const counts = new Uint8Array(RESAMPLES * n);
  for (let resample = 0; resample < RESAMPLES; resample++) {
    for (let draw = 0; draw < n; draw++) {
      const at = resample * n + Math.floor(random() * n);
      counts[at] = (counts[at] ?? 0) + 1;
    }
  }
  return counts;
}

/** 95 % interval of a statistic. @param statistic of prompts with a weight each */
export function interval(counts: Uint8Array, n: number, statistic: (weights: ArrayLike<number>) => number): Interval {
  const values = new Float64Array(RESAMPLES);
  for (let resample = 0; resample < RESAMPLES; resample++) {
    values[resample] = statistic(counts.subarray(resample * n, (resample + 1) * n));
  }
  values.sort();
  const at = (share: number): number => values[Math.round(share * (RESAMPLES - 1))] ?? NaN;
  return { lower: at(LOWER), value: statistic(new Uint8Array(n).fill(1)), upper: at(UPPER) };
}

/** Σ wᵢaᵢ / Σ wᵢbᵢ; 1 when both are 0: nothing is lost of nothing. */
export function ratioOf(a: ArrayLike<number>, b: ArrayLike<number>): (weights: ArrayLike<number>) => number {
  return (weights) => {
    let [above, below] = [0, 0];
    for (let i = 0; i < weights.length; i++) {
      above += (weights[i] ?? 0) * (a[i] ?? 0);
      below += (weights[i] ?? 0) * (b[i] ?? 0);
    }
    return below === 0 ? 1 : above / below;
  };
}
