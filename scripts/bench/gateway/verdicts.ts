/** What the gateway promises, held against what was measured. */
import { digits, table } from "../report.ts";
import { difference, median, ratio, type Results } from "../rounds.ts";
import { BARE, figureOf, LEDGER, SORTIE } from "./summary.ts";
import { CONCURRENCIES } from "./target.ts";

/** Milliseconds that authentication, reservation and settlement may add at concurrency 1: unseen beside a first token. */
const MAX_ADDED_MS = 3;
/** Pairs of reserve + settle a second that one tenant's object must do. */
const MIN_PAIRS_PER_S = 400;

export interface Verdict {
  readonly target: string;
  readonly measured: string;
  readonly met: boolean;
}

/**
 * @param suffixes of the names under which ledger and gateway were measured: one a kind of storage
 * @param rival the gateway with keys that Sortie must outrun; null when it could not be measured
 */
export function verdicts(results: Results, suffixes: readonly string[], rival: string | null): Verdict[] {
  return suffixes.flatMap((suffix) => [
    ...ledgerVerdicts(results, suffix),
    ...(rival === null ? [] : rivalVerdicts(results, suffix, rival)),
  ]);
}

function ledgerVerdicts(results: Results, suffix: string): Verdict[] {
  const p50 = (target: string) => figureOf(results, target, 1, "p50_ms");
  const added = difference(p50(LEDGER + suffix), p50(BARE));
  const pairs = median(figureOf(results, LEDGER + suffix, 16, "per_s"));
  return [
    {
      target: `${LEDGER}${suffix} adds at most ${MAX_ADDED_MS} ms (p50, 1 at once)`,
      measured: `${digits(added)} ms`,
      met: added <= MAX_ADDED_MS,
    },
    {
      target: `one tenant's ledger${suffix}: at least ${MIN_PAIRS_PER_S} reserve + settle a second (16 at once)`,
      measured: `${digits(pairs)}/s`,
      met: pairs >= MIN_PAIRS_PER_S,
    },
  ];
}

function rivalVerdicts(results: Results, suffix: string, rival: string): Verdict[] {
  return CONCURRENCIES.map((concurrency) => {
    const perSecond = (target: string) => figureOf(results, target, concurrency, "per_s");
    const faster = ratio(perSecond(SORTIE + suffix), perSecond(rival));
    return {
      target: `${SORTIE}${suffix}: more requests/s than ${rival} (${concurrency} at once)`,
      measured: `${digits(faster)} times`,
      met: faster > 1,
    };
  });
}

export function verdictTable(judged: readonly Verdict[]): string {
  return table(
    ["target", "measured", "met"],
    judged.map(({ target, measured, met }) => [target, measured, met ? "yes" : "no"]),
  );
}
