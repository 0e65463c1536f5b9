/** `GET /v1/usage`: the caller's own tenant, and no other. */
import { Hono } from "hono";
import type { AppEnv, Flow } from "./context.ts";
import { daysAsked, usageResponse } from "./usage-report.ts";

export function usage({ tenants }: Flow): Hono<AppEnv> {
  return new Hono<AppEnv>().get("/", async (c) => {
    const days = daysAsked(c, Date.now());
    const { tenant } = c.var.caller;
    const view = await tenants(c.env).tenant(tenant).usage(days.from, days.to);
    return usageResponse(c, tenant, days, view ?? { rows: [], budgets: [] });
  });
}
