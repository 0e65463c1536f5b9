/** From rounds to tables and verdicts. */
import { digits, table } from "../report.ts";
import { difference, figures, median, ratio, type Results } from "../rounds.ts";
import { type Concurrency, CONCURRENCIES, subjectName } from "./target.ts";

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

export function summarise(results: Results, target: string, bare: string): TargetSummary[] {
  return CONCURRENCIES.map((concurrency) => {
    const of = (name: string, figure: string) => figures(results, subjectName(name, concurrency), figure);
    return {
      target,
      concurrency,
      p50_ms: median(of(target, "p50_ms")),
      p99_ms: median(of(target, "p99_ms")),
      per_s: median(of(target, "per_s")),
      cpu_ms: median(of(target, "cpu_ms")),
      added_p50_ms: difference(of(target, "p50_ms"), of(bare, "p50_ms")),
      added_p99_ms: difference(of(target, "p99_ms"), of(bare, "p99_ms")),
    };
  });
}

/** Median over rounds of the requests a second of one target / another's. */
export function timesFaster(results: Results, a: string, b: string, concurrency: Concurrency): number {
  const of = (name: string) => figures(results, subjectName(name, concurrency), "per_s");
  return ratio(of(a), of(b));
}

export function requestTable(rows: readonly TargetSummary[]): string {
  return table(
    ["concurrency", "what answers", "p50 ms", "p99 ms", "requests/s", "CPU ms", "p50 added ms", "p99 added ms"],
    rows.map((row) => [
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

export function verdictTable(verdicts: readonly Verdict[]): string {
  return table(
    ["target", "measured", "met"],
    verdicts.map(({ target, measured, met }) => [target, measured, met ? "yes" : "no"]),
  );
}
