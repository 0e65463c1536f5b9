/** From the admin API's counters to what the operator's page shows. Pure. */
import { priced } from "../../src/tenant/pricing.ts";
import type { TrafficBody, UsageBody, TenantBody } from "../client/wire.ts";
import type { Bar } from "../parts/stacked-bars.tsx";

type Totals = TrafficBody["totals"];

export const sum = (counts: Readonly<Record<string, number>> = {}): number =>
  Object.values(counts).reduce((total, count) => total + count, 0);

/** Each label's share, largest first. */
export function shares(
  counts: Readonly<Record<string, number>> = {},
): { label: string; count: number; share: number }[] {
  const total = sum(counts);
  return Object.entries(counts)
    .map(([label, count]) => ({ label, count, share: total === 0 ? 0 : count / total }))
    .toSorted((a, b) => b.count - a.count);
}

/** Share of the deepest exit's price that was saved; null before anything was charged. */
export function savedShare({ cost }: Totals): number | null {
  const full = cost?.["full_depth"] ?? 0;
  return full === 0 ? null : 1 - (cost?.["charged"] ?? 0) / full;
}

/** Share of answers that a cache gave; null where none was asked. */
export function cacheHitShare({ cache }: Totals): number | null {
  const total = sum(cache);
  return total === 0 ? null : (cache?.["hit"] ?? 0) / total;
}

/** Requests by hour, stacked by exit and tier. */
export function exitBars({ hours }: TrafficBody): { series: string[]; bars: Bar[] } {
  const series = [...new Set(hours.flatMap(({ totals }) => Object.keys(totals.exits ?? {})))].toSorted(byNumber);
  const bars = hours.map(({ start, totals }) => ({ name: hourName(start), values: totals.exits ?? {} }));
  return { series, bars };
}

/** Output tokens by day, stacked by exit and tier. */
export function dayBars({ data }: UsageBody): { series: string[]; bars: Bar[] } {
  const nameOf = (row: UsageBody["data"][number]): string => `${row.exit} ${row.tier}`;
  const series = [...new Set(data.map(nameOf))].toSorted(byNumber);
  const days = Map.groupBy(data, ({ day }) => day);
  const bars = [...days]
    .toSorted(([a], [b]) => a.localeCompare(b))
    .map(([day, rows]) => {
      const values: Record<string, number> = {};
      for (const row of rows) values[nameOf(row)] = (values[nameOf(row)] ?? 0) + row.completion_tokens;
      return { name: day.slice(5), values };
    });
  return { series, bars };
}

/** What a tenant saved against the deepest exit, in dollars, at the prices of today. */
export function savedUsd({ policy }: TenantBody, { data }: UsageBody, deepest: number): number {
  const lines = data.map((row) => ({
    exit: deepest,
    tier: row.tier,
    promptTokens: row.prompt_tokens,
    cachedTokens: row.cached_tokens,
    completionTokens: row.completion_tokens,
  }));
  const full = priced(policy.prices, deepest, lines).reduce((total, { cost }) => total + cost, 0);
  const charged = data.reduce((total, { cost_usd }) => total + Number(cost_usd), 0);
  return Math.max(full / 1_000_000 - charged, 0); // each charge is rounded up: a few tiny ones may sum to more
}

const hourName = (iso: string): string => `${iso.slice(8, 10)}. ${iso.slice(11, 16)}`;

function byNumber(a: string, b: string): number {
  return Number.parseInt(a, 10) - Number.parseInt(b, 10);
}
