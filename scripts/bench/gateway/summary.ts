/** From rounds to the table of requests. */
import { digits, table } from "../report.ts";
import { difference, figures, median, type Results } from "../rounds.ts";
import { type Concurrency, CONCURRENCIES, subjectName } from "./target.ts";

/** Names of what is always measured. */
export const BARE = "bare Hono route";
export const LEDGER = "authenticate + reserve + settle";
export const RELAY = "Hono route that asks the upstream";
export const SORTIE = "Sortie with key, budgets, limits";
/** Appended to the names of what keeps its storage in memory. */
export const IN_MEMORY = ", in memory";

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

/** One figure of a target, a value a round. */
export const figureOf = (results: Results, target: string, concurrency: Concurrency, figure: string): number[] =>
  figures(results, subjectName(target, concurrency), figure);

export function summarise(results: Results, target: string): TargetSummary[] {
  return CONCURRENCIES.map((concurrency) => {
    const own = (figure: string) => figureOf(results, target, concurrency, figure);
    const added = (figure: string) => difference(own(figure), figureOf(results, BARE, concurrency, figure));
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
