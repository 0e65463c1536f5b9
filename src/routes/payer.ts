/** The account that a request runs on. */
import type { Context } from "hono";
import { settings } from "../env.ts";
import type { Payer } from "../payment.ts";
import type { AppEnv, Flow } from "./context.ts";

/** The authenticated caller's account. */
export function payerOf(c: Context<AppEnv>, { tenants }: Flow): Payer {
  const { caller, admissionId } = c.var;
  return {
    caller,
    admissionId,
    ledger: tenants(c.env).tenant(caller.tenant),
    leaseMs: settings(c.env).leaseMs,
    waitUntil: (settled) => c.executionCtx.waitUntil(settled),
  };
}
