/** The operator's door: a bearer token, and nothing that a client or a proxy says of itself. */
import type { Context, MiddlewareHandler } from "hono";
import { settings } from "../env.ts";
import { ApiError } from "../errors.ts";
import { SlowDown } from "../slow-down.ts";
import { retryAfter } from "../tenant/headers.ts";
import { bearerKey, sameDigest } from "../bearer.ts";
import { sha256 } from "../tenant/keys.ts";
import { wrongKey } from "../tenant/refusal-error.ts";
import type { AppEnv } from "./context.ts";

/** Groups of an IPv6 address that name a network: one person has all of it. */
const NETWORK_GROUPS = 4;

const WRONG_TOKEN = "Incorrect admin token. Send it in the Authorization header: 'Authorization: Bearer TOKEN'.";

/** What this isolate has seen of wrong tokens. */
const slowDown = new SlowDown();

/** Before anything of the body is read. @throws ApiError 401; 429 for an address that was wrong too often */
export const requireAdmin: MiddlewareHandler<AppEnv> = async (c, next) => {
  const { adminToken } = settings(c.env);
  if (adminToken === null) {
    throw wrongKey("The admin API is off: set the secret ADMIN_TOKEN and deploy.");
  }
  const address = addressOf(c);
  const wait = slowDown.waitOf(address, Date.now());
  if (wait > 0) throw tooManyAttempts(wait);
  const presented = bearerKey(c.req.header("authorization"));
  if (presented === null) throw wrongKey(WRONG_TOKEN); // nothing was guessed
  if (!sameDigest(await sha256(presented), await sha256(adminToken))) {
    slowDown.wrong(address, Date.now());
    throw wrongKey(WRONG_TOKEN);
  }
  slowDown.right(address);
  await next();
};

/** Where a request comes from, as the platform saw it; behind a proxy of one's own all come from one place. */
function addressOf(c: Context<AppEnv>): string {
  const address = c.req.header("cf-connecting-ip") ?? "";
  return address.includes(":") ? address.split(":").slice(0, NETWORK_GROUPS).join(":") : address;
}

function tooManyAttempts(waitMs: number): ApiError {
  return new ApiError("Too many wrong admin tokens came from your address. Please wait and try again.", {
    status: 429,
    type: "rate_limit_error",
    code: "rate_limit_exceeded",
    headers: { "retry-after": retryAfter(waitMs) },
  });
}
