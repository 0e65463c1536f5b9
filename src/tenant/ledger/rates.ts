/** Requests and tokens a minute, counted exactly over any 60 seconds, and requests at once. Pure. */
import type { Policy } from "../policy.ts";
import type { Asking } from "./accounts.ts";
import { RATE_WINDOW_MS, type LedgerState } from "./state.ts";

/** A rate as headers tell it. */
export interface RateView {
  readonly limit: number;
  readonly remaining: number;
  /** Milliseconds until nothing of the last minute counts any more. */
  readonly resetMs: number;
}

/** null: not limited. */
export interface RateViews {
  readonly requests: RateView | null;
  readonly tokens: RateView | null;
}

export type RateRefusal =
  | { readonly kind: "requests_per_minute"; readonly limit: number; readonly retryAfterMs: number }
  /** `retryAfterMs` null: the request alone is larger than the limit. */
  | { readonly kind: "tokens_per_minute"; readonly limit: number; readonly retryAfterMs: number | null }
  | { readonly kind: "concurrent_requests"; readonly limit: number; readonly retryAfterMs: number };

/** Nobody can know when a running request ends: a second is about one short answer. */
const CONCURRENCY_RETRY_MS = 1_000;

/** Whether one more request may begin; its tokens are {@link tokenRefusal}'s. */
export function requestRefusal(state: LedgerState, policy: Policy, key: Asking): RateRefusal | null {
  const { concurrent_requests: atOnce } = policy.rates;
  if (atOnce !== null && state.holds.size + state.admitted.size >= atOnce) {
    return { kind: "concurrent_requests", limit: atOnce, retryAfterMs: CONCURRENCY_RETRY_MS };
  }
  const refusals = requestLimits(policy, key).flatMap(({ limit, keyId }): RateRefusal[] => {
    const blocking = state.begun.newest(limit, keyId);
    if (blocking === undefined) return [];
    return [{ kind: "requests_per_minute", limit, retryAfterMs: blocking.at + RATE_WINDOW_MS - state.clock }];
  });
  return refusals.toSorted((a, b) => (b.retryAfterMs ?? 0) - (a.retryAfterMs ?? 0))[0] ?? null;
}

/** Whether so many tokens more fit into this minute. */
export function tokenRefusal(state: LedgerState, policy: Policy, tokens: number): RateRefusal | null {
  const { tokens_per_minute: limit } = policy.rates;
  if (limit === null) return null;
  let over = state.begun.tokens + tokens - limit;
  if (over <= 0) return null;
  for (const entry of state.begun) {
    over -= entry.tokens;
    if (over <= 0) {
      return { kind: "tokens_per_minute", limit, retryAfterMs: entry.at + RATE_WINDOW_MS - state.clock };
    }
  }
  return { kind: "tokens_per_minute", limit, retryAfterMs: null };
}

/** The rates as they stand; of several on requests, the one with the least left. */
export function rateViews(state: LedgerState, policy: Policy, key: Asking): RateViews {
  const view = (limit: number, used: number, keyId: string | null): RateView => {
    const last = state.begun.newest(1, keyId);
    const resetMs = last === undefined ? 0 : last.at + RATE_WINDOW_MS - state.clock;
    return { limit, remaining: Math.max(limit - used, 0), resetMs };
  };
  const requests = requestLimits(policy, key).map(({ limit, keyId }) =>
    view(limit, state.begun.requests(keyId), keyId),
  );
  const { tokens_per_minute: tokens } = policy.rates;
  return {
    requests: requests.toSorted((a, b) => a.remaining - b.remaining)[0] ?? null,
    tokens: tokens === null ? null : view(tokens, state.begun.tokens, null),
  };
}

/** The limits on requests a minute, the tenant's and the key's, and whose requests each counts. */
function requestLimits(policy: Policy, key: Asking) {
  const tenant = policy.rates.requests_per_minute;
  const own = key.limits.requests_per_minute;
  const limits: { readonly limit: number; readonly keyId: string | null }[] = [];
  if (tenant !== null) limits.push({ limit: tenant, keyId: null });
  if (own !== null) limits.push({ limit: own, keyId: key.id });
  return limits;
}
