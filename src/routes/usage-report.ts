/** A tenant's usage by day, exit and tier: the query's days, the JSON and the CSV. */
import type { Context } from "hono";
import { z } from "zod";
import { requestError } from "../api/request-error.ts";
import { formatUsd } from "../money.ts";
import type { UsageView } from "../tenant/api.ts";
import { budgetView } from "../tenant/refusal-error.ts";
import type { UsageBody } from "./admin-schemas.ts";

const DAY_MS = 86_400_000;
/** Days told when the caller names none: a month. */
const DEFAULT_DAYS = 30;
/** Days at once: a year. */
const MAX_DAYS = 366;

const dayOf = (at: number): string => new Date(at).toISOString().slice(0, 10);

export const usageQuerySchema = z
  .strictObject({
    /** First day, UTC. */
    from: z.iso.date().optional(),
    /** Last day, UTC; it is told, too. */
    to: z.iso.date().optional(),
    format: z.enum(["json", "csv"]).optional(),
  })
  .refine(({ from, to }) => from === undefined || to === undefined || from <= to, {
    path: ["from"],
    error: "it is after 'to'",
  });

/** Whole days, as the ledger is asked: `[from, to)` in milliseconds since 1970. */
export interface Days {
  readonly from: number;
  readonly to: number;
  readonly csv: boolean;
}

/** @throws ApiError 400 naming the parameter at fault */
export function daysAsked(c: Context, now: number): Days {
  const query = c.req.query();
  const parsed = usageQuerySchema.safeParse(query);
  if (!parsed.success) throw requestError(parsed.error, query);
  const last = Date.parse(parsed.data.to ?? dayOf(now));
  const first = parsed.data.from === undefined ? last - (DEFAULT_DAYS - 1) * DAY_MS : Date.parse(parsed.data.from);
  const csv = parsed.data.format === "csv" || (parsed.data.format === undefined && acceptsCsv(c));
  return { from: Math.max(first, last - (MAX_DAYS - 1) * DAY_MS), to: last + DAY_MS, csv };
}

function acceptsCsv(c: Context): boolean {
  return c.req.header("accept")?.startsWith("text/csv") ?? false;
}

export function usageResponse(c: Context, tenant: string, days: Days, view: UsageView): Response {
  const body = usageBody(tenant, days, view);
  if (!days.csv) return c.json(body);
  return c.text(usageCsv(body), 200, { "content-type": "text/csv; charset=utf-8" });
}

function usageBody(tenant: string, { from, to }: Days, { rows, budgets }: UsageView): UsageBody {
  return {
    object: "usage",
    tenant,
    from: dayOf(from),
    to: dayOf(to - DAY_MS),
    total_cost_usd: formatUsd(rows.reduce((sum, { cost }) => sum + cost, 0)),
    budgets: budgets.map(budgetView),
    data: rows.map((row) => ({
      day: row.day,
      exit: row.exit,
      tier: row.tier,
      requests: row.requests,
      prompt_tokens: row.promptTokens,
      cached_tokens: row.cachedTokens,
      completion_tokens: row.completionTokens,
      cost_usd: formatUsd(row.cost),
    })),
  };
}

const COLUMNS = [
  "day",
  "exit",
  "tier",
  "requests",
  "prompt_tokens",
  "cached_tokens",
  "completion_tokens",
  "cost_usd",
] as const;

/** Numbers and fixed words only: nothing needs quotes. */
function usageCsv({ data }: UsageBody): string {
  const lines = data.map((row) => COLUMNS.map((column) => row[column]).join(","));
  return `${[COLUMNS.join(","), ...lines].join("\r\n")}\r\n`;
}
