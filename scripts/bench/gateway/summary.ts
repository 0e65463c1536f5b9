/** From rounds to tables and verdicts. */
import { digits, table } from "../report.ts";
import { difference, figures, median, ratio, type Results } from "../rounds.ts";
import { type Concurrency, CONCURRENCIES, subjectName } from "./target.ts";

/** Names of what is always measured. */
export const BARE = "bare Hono route";
export const LEDGER = "authenticate + reserve + settle";
export const RELAY = "Hono route that asks the upstream";
export const SORTIE = "Sortie, key + budgets + limits";

/** Milliseconds that authentication, reservation and settlement may add at concurrency 1: unseen beside a first token. */
const MAX_ADDED_MS = 3;
/** Pairs of reserve + settle a second that one tenant's object must do. */
const MIN_PAIRS_PER_S = 400;

/** Medians over rounds of one target. */
export interface TargetSummary {
  readonly target: string;
  readonly concurrency: Concurrency;
  readonly p50_ms: number;
  readonly p99_ms: number;
  readonly per_s: number;
  /** CPU time of the server's process a request; NaN where it is not known. */
  readonly cpu_ms: number;
  /** Over the bare route, inside a round. */
  readonly added_p50_ms: number;
  readonly added_p99_ms: number;
}

const of = (results: Results, target: string, concurrency: Concurrency, figure: string) =>
  figures(results, subjectName(target, concurrency), figure);

export function summarise(results: Results, target: string): TargetSummary[] {
  return CONCURRENCIES.map((concurrency) => {
    const own = (figure: string) => of(results, target, concurrency, figure);
    const added = (figure: string) => difference(own(figure), of(results, BARE, concurrency, figure));
    return {
      target,
      concurrency,
      p50_ms: median(own("p50_ms")),
      p99_ms: median(own("p99_ms")),
      per_s: median(own("per_s")),
      cpu_ms: median(own("cpu_ms")),
      added_p50_ms: added("p50_ms"),
      added_p99_ms: added("p99_ms"),
    };
  });
}

export function requestTable(rows: readonly TargetSummary[]): string {
  return table(
    ["at once", "what answers", "p50 ms", "p99 ms", "requests/s", "CPU ms", "p50 added ms", "p99 added ms"],
    rows
      .toSorted((a, b) => a.concurrency - b.concurrency)
      .map((row) => [
        `${row.concurrency}`,
        row.target,
        digits(row.p50_ms),
        digits(row.p99_ms),
        digits(row.per_s),
        Number.isNaN(row.cpu_ms) ? "" : digits(row.cpu_ms),
        digits(row.added_p50_ms),
        digits(row.added_p99_ms),
      ]),
  );
}

/** Something promised, and what was measured. */
export interface Verdict {
  readonly target: string;
  readonly measured: string;
  readonly met: boolean;
}

/** @param rival the gateway with keys that Sortie must outrun; null when it could not be measured */
export function verdicts(results: Results, rival: string | null): Verdict[] {
  const added = difference(of(results, LEDGER, 1, "p50_ms"), of(results, BARE, 1, "p50_ms"));
  const pairs = median(of(results, LEDGER, 16, "per_s"));
  const judged: Verdict[] = [
    {
      target: `authentication + reserve + settle add at most ${MAX_ADDED_MS} ms (p50, 1 at once)`,
      measured: `${digits(added)} ms`,
      met: added <= MAX_ADDED_MS,
    },
    {
      target: `one tenant's ledger does at least ${MIN_PAIRS_PER_S} reserve + settle a second (16 at once)`,
      measured: `${digits(pairs)}/s`,
      met: pairs >= MIN_PAIRS_PER_S,
    },
  ];
  if (rival === null) return judged;
  return [
    ...judged,
    ...CONCURRENCIES.map((concurrency) => {
      const faster = ratio(of(results, SORTIE, concurrency, "per_s"), of(results, rival, concurrency, "per_s"));
      return {
        target: `more requests/s than ${rival} (${concurrency} at once)`,
        measured: `${digits(faster)} times`,
        met: faster > 1,
      };
    }),
  ];
}

export function verdictTable(judged: readonly Verdict[]): string {
  return table(
    ["target", "measured", "met"],
    judged.map(({ target, measured, met }) => [target, measured, met ? "yes" : "no"]),
  );
}
