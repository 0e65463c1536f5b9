/** Rate limits as OpenAI's clients read them: `x-ratelimit-{limit,remaining,reset}-{requests,tokens}`. Pure. */
import type { RateView, RateViews } from "./ledger/rates.ts";

/** Names of all headers made here. */
export const RATE_HEADERS = ["requests", "tokens"].flatMap((what) =>
  ["limit", "remaining", "reset"].map((of) => `x-ratelimit-${of}-${what}`),
);

/** Headers of the rates that are limited. */
export function rateHeaders({ requests, tokens }: RateViews): Record<string, string> {
  return { ...headersOf("requests", requests), ...headersOf("tokens", tokens) };
}

function headersOf(what: "requests" | "tokens", view: RateView | null): Record<string, string> {
  if (view === null) return {};
  return {
    [`x-ratelimit-limit-${what}`]: String(view.limit),
    [`x-ratelimit-remaining-${what}`]: String(view.remaining),
    [`x-ratelimit-reset-${what}`]: `${view.resetMs / 1_000}s`,
  };
}

/** Whole seconds for `retry-after`, at least one. */
export function retryAfter(milliseconds: number): string {
  return String(Math.max(Math.ceil(milliseconds / 1_000), 1));
}
