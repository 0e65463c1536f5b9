/** Who sends a request, and whether it may be read: both before anything of its body is. */
import type { Context, MiddlewareHandler } from "hono";
import { settings } from "../env.ts";
import { inSpan } from "../telemetry/span.ts";
import { bearerKey } from "../bearer.ts";
import { refusalError, wrongKey } from "../tenant/refusal-error.ts";
import type { AppEnv, Flow } from "./context.ts";

/** Statuses from here on are our fault. */
const SERVER_ERROR = 500;
const WRONG_KEY = "Incorrect API key provided.";

/** For the paths that compute nothing; a request that {@link admit} has seen passes. @throws ApiError 401 */
export function authenticate({ tenants, turns }: Flow): MiddlewareHandler<AppEnv> {
  return async (c, next) => {
    if (c.get("caller") === undefined) {
      const key = presentedKey(c);
      const caller = await inSpan("authenticate", {}, () => tenants(c.env).authenticate(key));
      if (caller === null) throw wrongKey(WRONG_KEY);
      c.set("caller", caller);
      turns.arrive(caller.tenant);
    }
    await next();
  };
}

/**
 * For the paths that compute: the request has its place among its tenant's from here on. A request that is refused
 * later gives its place back, and counts to the rate if the client is at fault.
 * @throws ApiError 401; 429 when the tenant or key has too many requests a minute, or at once
 */
export function admit({ tenants, turns }: Flow): MiddlewareHandler<AppEnv> {
  return async (c, next) => {
    const key = presentedKey(c);
    const all = tenants(c.env);
    const id = crypto.randomUUID(); // a client may send its x-request-id twice
    const { leaseMs } = settings(c.env);
    const answer = await inSpan("authenticate", {}, () => all.admit(key, { id, leaseMs }));
    if (answer === null) throw wrongKey(WRONG_KEY);
    if (!answer.ok) throw refusalError(answer);
    c.set("caller", answer.caller);
    c.set("admissionId", id);
    turns.arrive(answer.caller.tenant);
    const ended = next().then(async () => {
      if (c.res.ok) return;
      // A failure to say so is logged, and the place is free when the lease is over: the answer stays what it is.
      await Promise.allSettled([all.tenant(answer.caller.tenant).leave(id, c.res.status < SERVER_ERROR)]);
    });
    c.executionCtx.waitUntil(ended); // else the platform ends the request with its client, and its place is kept
    await ended;
  };
}

function presentedKey(c: Context<AppEnv>): string {
  const presented = bearerKey(c.req.header("authorization"));
  if (presented !== null) return presented;
  throw wrongKey(
    "You did not provide an API key. Send it in the Authorization header: 'Authorization: Bearer YOUR_KEY'.",
  );
}
