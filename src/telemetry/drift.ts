/** What the gates do beside what the calibration expected of them. Pure. */
import type { Count } from "./counters.ts";

/** Shares that a calibration expects. */
export interface Expected {
  readonly gates: Readonly<Record<string, number>>;
  readonly exits: Readonly<Record<string, number>>;
}

export interface Drift {
  /** e.g. `3-12` */
  readonly range: string;
  readonly quality: number;
  readonly answers: number;
  readonly gates: readonly DriftShare[];
  readonly exits: readonly DriftShare[];
}

export interface DriftShare {
  readonly name: string;
  readonly observed: number;
  readonly expected: number;
  /** (observed − expected) in standard errors of a share of so many answers; beyond ±3 it is hardly chance. */
  readonly deviation: number;
}

/**
 * @param counts of the name `cascades`, labels `fingerprint range quality gate exit`
 * @param fingerprint of the checkpoint that was calibrated; other ones' answers are left out
 * @param expectedOf null: there is no such calibration (any more); its counts are left out
 */
export function drift(
  counts: readonly Count[],
  fingerprint: string,
  expectedOf: (range: string, quality: number) => Expected | null,
): Drift[] {
  const parts = counts.map(({ label, count }) => {
    const [checkpoint = "", range = "", quality = "", gate = "", exit = ""] = label.split(" ");
    return { checkpoint, range, quality: Number(quality), gate, exit, count };
  });
  const own = parts.filter(({ checkpoint }) => checkpoint === fingerprint);
  const cascades = Map.groupBy(own, ({ range, quality }) => `${range} ${quality}`);
  return [...cascades.values()].flatMap((rows) => {
    const { range, quality } = rows[0]!;
    const expected = expectedOf(range, quality);
    if (expected === null) return [];
    const answers = rows.reduce((sum, { count }) => sum + count, 0);
    const shares = (name: "gate" | "exit", of: Expected["gates"]): DriftShare[] =>
      [...new Set([...Object.keys(of), ...rows.map((row) => row[name])])].map((one) => {
        const observed = rows.filter((row) => row[name] === one).reduce((sum, { count }) => sum + count, 0) / answers;
        return { name: one, observed, expected: of[one] ?? 0, deviation: deviation(observed, of[one] ?? 0, answers) };
      });
    return [{ range, quality, answers, gates: shares("gate", expected.gates), exits: shares("exit", expected.exits) }];
  });
}

/** Least share an error is computed by: one answer in a thousand that was never expected is no miracle. */
const LEAST_SHARE = 1e-3;

function deviation(observed: number, expected: number, answers: number): number {
  const share = Math.min(Math.max(expected, LEAST_SHARE), 1 - LEAST_SHARE);
  return (observed - expected) / Math.sqrt((share * (1 - share)) / answers);
}
