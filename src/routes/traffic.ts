/** `GET /admin/v1/traffic`: what the deployment did by the hour, for the operator. */
import { type Context, Hono } from "hono";
import { z } from "zod";
import { requestError } from "../api/request-error.ts";
import { trafficQueryFields, type TrafficBody } from "../api/traffic-schemas.ts";
import { percentile, summed, type Count } from "../telemetry/counters.ts";
import { trafficObject } from "../telemetry/traffic-client.ts";
import type { TrafficHour } from "../telemetry/traffic-object.ts";
import type { AppEnv } from "./context.ts";

const HOUR_MS = 3_600_000;
const querySchema = z.strictObject(trafficQueryFields);

export function traffic(): Hono<AppEnv> {
  return new Hono<AppEnv>().get("/", async (c) => {
    const { from, to, hours } = await trafficOf(c);
    return c.json(trafficBody(from, to, hours));
  });
}

/** The counters of the hours that a query asks for. @throws ApiError 400 */
export async function trafficOf(
  c: Context<AppEnv>,
): Promise<{ readonly from: number; readonly to: number; readonly hours: readonly TrafficHour[] }> {
  const query = c.req.query();
  const parsed = querySchema.safeParse(query);
  if (!parsed.success) throw requestError(parsed.error, query);
  const to = (Math.floor(Date.now() / HOUR_MS) + 1) * HOUR_MS;
  const from = to - parsed.data.hours * HOUR_MS;
  const hours = c.env.TRAFFIC ? await trafficObject(c.env.TRAFFIC).read(from, to) : [];
  return { from, to, hours };
}

type Totals = TrafficBody["totals"];

function trafficBody(from: number, to: number, hours: readonly TrafficHour[]): TrafficBody {
  const totals = totalsOf(hours.flatMap(({ counts }) => counts));
  return {
    object: "traffic",
    from: new Date(from).toISOString(),
    to: new Date(to).toISOString(),
    latency: {
      first_token_ms: percentiles(totals.first_token_ms),
      per_token_ms: percentiles(totals.per_token_ms),
      duration_ms: percentiles(totals.duration_ms),
    },
    totals,
    hours: hours.map(({ start, counts }) => ({ start: new Date(start).toISOString(), totals: totalsOf(counts) })),
  };
}

function totalsOf(counts: readonly Count[]): Totals {
  const totals: Totals = {};
  for (const { name, label, count } of summed(counts)) totals[name] = { ...totals[name], [label]: count };
  return totals;
}

function percentiles(buckets: Readonly<Record<string, number>> = {}) {
  const [p50, p90, p99] = [0.5, 0.9, 0.99].map((share) => percentile(buckets, share));
  if (p50 == null || p90 == null || p99 == null) return null;
  return { p50: Math.round(p50), p90: Math.round(p90), p99: Math.round(p99) };
}
