/**
 * Rounds of measurements. Machines are shared and noisy: everything that is compared is measured in turn within every
 * round, a ratio is taken inside a round, and medians over rounds are reported.
 */

/** Something measured once a round: named figures, in milliseconds or bytes. */
export interface Subject {
  readonly name: string;
  measure(): Promise<Readonly<Record<string, number>>>;
}

/** Per subject, one set of figures a round. */
export type Results = ReadonlyMap<string, readonly Readonly<Record<string, number>>[]>;

/** @param onRound called before each round with its number, from 1. */
export async function interleave(
  subjects: readonly Subject[],
  rounds: number,
  onRound: (round: number) => void,
): Promise<Results> {
  const results = new Map<string, Readonly<Record<string, number>>[]>();
  for (let round = 1; round <= rounds; round++) {
    onRound(round);
    for (const subject of subjects) {
      const measured = await subject.measure();
      results.set(subject.name, [...(results.get(subject.name) ?? []), measured]);
    }
  }
  return results;
}

/** The middle value, or the mean of the two in the middle. @throws RangeError when there is none. */
export function median(values: readonly number[]): number {
  if (values.length === 0) throw new RangeError("no values");
  const sorted = values.toSorted((a, b) => a - b);
  const [lower, upper] = [sorted[(sorted.length - 1) >> 1] ?? NaN, sorted[sorted.length >> 1] ?? NaN];
  return (lower + upper) / 2;
}

/** One figure of a subject, a value a round. @throws RangeError when it was not measured. */
export function figures(results: Results, name: string, figure: string): number[] {
  const rounds = results.get(name);
  if (rounds === undefined) throw new RangeError(`${name} was not measured`);
  return rounds.map((round) => {
    const value = round[figure];
    if (value === undefined) throw new RangeError(`${name} has no ${figure}`);
    return value;
  });
}

/** Median over rounds of a / b, both of the same round. */
export function ratio(a: readonly number[], b: readonly number[]): number {
  return median(a.map((value, round) => value / (b[round] ?? NaN)));
}

/** Median over rounds of a - b, both of the same round. */
export function difference(a: readonly number[], b: readonly number[]): number {
  return median(a.map((value, round) => value - (b[round] ?? NaN)));
}
