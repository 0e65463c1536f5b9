/** Who pays for a request, and how: the exits that may answer, the reservation, the meter that settles it. */
import type { ChatRequest } from "./conversation.ts";
import { ApiError } from "./errors.ts";
import { Meter } from "./meter.ts";
import type { Circumstances } from "./policy/route.ts";
import type { ExitPolicy } from "./policy/selection.ts";
import type { Caller, TenantApi } from "./tenant/api.ts";
import { rateHeaders } from "./tenant/headers.ts";
import { allowedExits } from "./tenant/policy.ts";
import { offers, priced } from "./tenant/pricing.ts";
import { refusalError } from "./tenant/refusal-error.ts";

/** The account that a request runs on. */
export interface Payer {
  readonly caller: Caller;
  readonly ledger: Pick<TenantApi, "reserve" | "renew" | "settle">;
  readonly leaseMs: number;
  /** Keeps the request's context alive until its hold is settled. */
  readonly waitUntil: (settled: Promise<unknown>) => void;
}

/**
 * The exits that may answer, ascending: those that the caller named, and its tenant and key allow.
 * @throws ApiError 403 `exit_not_allowed`
 */
export function exitsFor(policy: ExitPolicy, caller: Caller, deployment: Circumstances): readonly number[] {
  const { exits, edgeExits, originConfigured } = deployment;
  const allowed = allowedExits(exits, caller.policy, caller.limits);
  if (policy.kind === "fixed") {
    if (allowed.includes(policy.exit)) return [policy.exit];
    throw notAllowed(`Your key may not use exit ${policy.exit}. It may use ${allowed.join(", ") || "none"}.`);
  }
  const reachable = originConfigured ? allowed : allowed.filter((exit) => edgeExits.includes(exit));
  if (reachable.length > 0) return reachable;
  throw notAllowed(`None of the exits that your key may use (${allowed.join(", ") || "none"}) is served here.`);
}

function notAllowed(message: string): ApiError {
  return new ApiError(message, { status: 403, type: "permission_error", code: "exit_not_allowed", param: "model" });
}

/** A hold, and what it allows. */
export interface Payment {
  /** The exits that are paid for, ascending. */
  readonly exits: readonly number[];
  readonly maxTokens: number;
  /** Appended to the route's reason; empty unless a budget or rate made the request smaller. */
  readonly note: string;
  /** `x-ratelimit-…` */
  readonly headers: Readonly<Record<string, string>>;
  readonly meter: Meter;
}

export interface Bill {
  readonly promptTokens: number;
  readonly maxTokens: number;
  /** Exits that may answer, ascending. */
  readonly exits: readonly number[];
  /** The deployment's deepest exit. */
  readonly deepest: number;
  readonly exitFixed: boolean;
}

/**
 * Takes a hold for the most that the request can cost: at the deepest exit whose bound fits, and shorter at the
 * shallowest where the caller left the length open.
 * @throws ApiError 401 when the key was just revoked, 429 when nothing fits, 503 when the ledger does not answer
 */
export async function reserve(payer: Payer, request: ChatRequest, bill: Bill): Promise<Payment> {
  const { caller, ledger, leaseMs } = payer;
  const { prices } = caller.policy;
  const { promptTokens, maxTokens, exits, deepest, exitFixed } = bill;
  const id = crypto.randomUUID(); // a client may send its x-request-id twice
  const mayShorten = request.maxTokens === null;
  const reservedAt = Date.now();
  const answer = await ledger.reserve({
    id,
    requestId: request.requestId,
    keyId: caller.keyId,
    promptTokens,
    offers: offers(prices, exits, deepest, { promptTokens, maxTokens, mayShorten }),
    exitFixed,
    leaseMs,
  });
  if (!answer.ok) throw refusalError(answer);
  const meter = new Meter(
    {
      requestId: request.requestId,
      leaseMs,
      promptTokens,
      price: (tokens) => priced(prices, deepest, tokens),
      renew: (metered) => ledger.renew(id, metered, leaseMs),
      settle: (lines) => ledger.settle(id, lines),
    },
    reservedAt,
  );
  payer.waitUntil(meter.done);
  const { offer, lowered, rates } = answer;
  const shorter = offer.maxTokens < maxTokens ? `; max_tokens=${offer.maxTokens}` : "";
  return {
    exits: exits.filter((exit) => exit <= offer.maxExit),
    maxTokens: offer.maxTokens,
    note: lowered === null ? "" : `; budget=${lowered}; max_exit=${offer.maxExit}${shorter}`,
    headers: rateHeaders(rates),
    meter,
  };
}
