/** Why a reservation was refused, in the words of OpenAI's contract. Pure. */
import { ApiError } from "../errors.ts";
import type { AdmitAnswer, ReserveAnswer } from "./api.ts";
import { rateHeaders, retryAfter } from "./headers.ts";
import type { Account } from "./ledger/accounts.ts";
import type { Refusal } from "./ledger/reserve.ts";
import { formatUsd } from "../money.ts";
import type { Period } from "./period.ts";

/** A budget as bodies show it. */
export interface BudgetView {
  readonly name: string;
  readonly period: Period;
  readonly scope: "tenant" | "key";
  readonly limit_usd: string;
  readonly spent_usd: string;
  readonly held_usd: string;
  /** ISO 8601; null: never. */
  readonly resets_at: string | null;
}

export function budgetView({ budget, period, scope, limit, spent, held, resetsAt }: Account): BudgetView {
  return {
    name: budget,
    period,
    scope,
    limit_usd: formatUsd(limit),
    spent_usd: formatUsd(spent),
    held_usd: formatUsd(held),
    resets_at: resetsAt === null ? null : new Date(resetsAt).toISOString(),
  };
}

/** OpenAI's clients do not try again what says so. */
const NO_RETRY = { "x-should-retry": "false" };

/** The error of a refused admission or reservation, with the rates as they stand. */
export function refusalError({ refusal, rates }: Extract<AdmitAnswer | ReserveAnswer, { ok: false }>): ApiError {
  if (refusal.kind === "key_invalid") return wrongKey("Incorrect API key provided.");
  return tooMuch(refusal, rates === null ? {} : rateHeaders(rates));
}

/** 401, the same for every reason. */
export function wrongKey(message: string): ApiError {
  return new ApiError(message, {
    status: 401,
    type: "invalid_request_error",
    code: "invalid_api_key",
    headers: { "www-authenticate": "Bearer" },
  });
}

function tooMuch(refusal: Refusal, headers: Record<string, string>): ApiError {
  switch (refusal.kind) {
    case "budget_spent": {
      const need = `this request may cost up to $${formatUsd(refusal.bound)}`;
      return quota(`${told(refusal.account)}; ${need}.`, refusal.account, headers);
    }
    case "exit_too_deep": {
      const limit = `past its soft limit no exit deeper than ${refusal.maxExit} answers`;
      return quota(`${told(refusal.account)}; ${limit}.`, refusal.account, headers);
    }
    case "budget_held": {
      const message = `${told(refusal.account)}; try again when running requests have ended.`;
      const budget = budgetView(refusal.account);
      return rateLimit(message, refusal.retryAfterMs, headers, { budget });
    }
    case "requests_per_minute":
      return rateLimit(`Rate limit reached: ${refusal.limit} requests per minute.`, refusal.retryAfterMs, headers);
    case "tokens_per_minute": {
      const size = refusal.retryAfterMs === null ? " This request alone is larger." : "";
      const message = `Rate limit reached: ${refusal.limit} tokens per minute.${size}`;
      return rateLimit(message, refusal.retryAfterMs, headers);
    }
    case "concurrent_requests":
      return rateLimit(`Rate limit reached: ${refusal.limit} requests at once.`, refusal.retryAfterMs, headers);
    default:
      return refusal satisfies never;
  }
}

/** What a budget's state is, in one clause. */
function told(account: Account): string {
  const { name, scope, period, limit_usd, spent_usd, held_usd, resets_at } = budgetView(account);
  const whose = scope === "key" ? "your key's share of the budget" : "the budget";
  const every = period === "none" ? "" : ` per ${period}`;
  const reset = resets_at === null ? "it does not reset" : `it resets at ${resets_at}`;
  return (
    `You exceeded ${whose} '${name}' of $${limit_usd}${every}: $${spent_usd} is spent, ` +
    `$${held_usd} is held by running requests, ${reset}`
  );
}

function quota(message: string, account: Account, headers: Record<string, string>): ApiError {
  return new ApiError(message, {
    status: 429,
    type: "insufficient_quota",
    code: "insufficient_quota",
    headers: { ...headers, ...NO_RETRY },
    extra: { budget: budgetView(account) },
  });
}

/** @param retryAfterMs null: it would be refused again */
function rateLimit(
  message: string,
  retryAfterMs: number | null,
  headers: Record<string, string>,
  extra: Readonly<Record<string, unknown>> = {},
): ApiError {
  const retry = retryAfterMs === null ? NO_RETRY : { "retry-after": retryAfter(retryAfterMs) };
  const details = { status: 429, type: "rate_limit_error", code: "rate_limit_exceeded" } as const;
  return new ApiError(message, { ...details, headers: { ...headers, ...retry }, extra });
}
