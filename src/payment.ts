/** Paying for a request: one reservation for all its prompts and choices, and the meter that settles it. */
import type { ChatRequest } from "./conversation.ts";
import type { GenerationRequest } from "./generation.ts";
import { Meter } from "./meter.ts";
import type { Caller, TenantApi } from "./tenant/api.ts";
import { rateHeaders } from "./tenant/headers.ts";
import { fullDepthCost, offers, priced, pricedHit } from "./tenant/pricing.ts";
import { refusalError } from "./tenant/refusal-error.ts";

/** The account that a request runs on. */
export interface Payer {
  readonly caller: Caller;
  /** The request's place among its tenant's, which its hold takes over. */
  readonly admissionId: string;
  readonly ledger: Pick<TenantApi, "reserve" | "renew" | "settle">;
  readonly leaseMs: number;
  /** Keeps the request's context alive until its hold is settled. */
  readonly waitUntil: (settled: Promise<unknown>) => void;
}

/** A hold, and what it allows. */
export interface Payment {
  /** No exit deeper than this; null: as deep as was asked. */
  readonly maxExit: number | null;
  /** Tokens of one choice, at the most. */
  readonly maxTokens: number;
  /** Appended to every route's reason; empty unless a budget or rate made the request smaller. */
  readonly note: string;
  /** `x-ratelimit-…` */
  readonly headers: Readonly<Record<string, string>>;
  readonly meter: Meter;
}

/** What must be paid for. */
export interface Bill {
  /** One a prompt, each as long as it may get. */
  readonly generations: readonly Pick<GenerationRequest, "token_ids" | "max_tokens">[];
  /** Exits that may answer, ascending. */
  readonly exits: readonly number[];
  /** The deployment's deepest exit. */
  readonly deepest: number;
  readonly exitFixed: boolean;
}

/**
 * Takes a hold for the most that the request can cost: every prompt once, every choice in full, at the deepest exit
 * whose bound fits; and shorter at the shallowest where the caller left the length open.
 * @throws ApiError 401 when the key was just revoked, 429 when nothing fits, 503 when the ledger does not answer
 */
export async function reserve(payer: Payer, request: ChatRequest, bill: Bill): Promise<Payment> {
  const { caller, admissionId: id, ledger, leaseMs } = payer;
  const { prices } = caller.policy;
  const { generations, exits, deepest, exitFixed } = bill;
  const prompts = generations.map(({ token_ids: ids }) => ids.length);
  const size = {
    promptTokens: prompts.reduce((sum, tokens) => sum + tokens, 0),
    choices: generations.flatMap(({ max_tokens: tokens }) => Array.from({ length: request.choices }, () => tokens)),
    mayShorten: request.maxTokens === null,
  };
  const wanted = offers(prices, exits, deepest, size);
  const reservedAt = Date.now();
  const answer = await ledger.reserve({
    id,
    requestId: request.requestId,
    keyId: caller.keyId,
    offers: wanted,
    exitFixed,
    leaseMs,
  });
  if (!answer.ok) throw refusalError(answer);
  const meter = new Meter(
    {
      requestId: request.requestId,
      whole: request.whole === true,
      leaseMs,
      prompts,
      price: (tokens) => priced(prices, deepest, tokens),
      fullDepthCost: (tokens) => fullDepthCost(prices, deepest, tokens),
      priceHit: (tokens) => pricedHit(prices, deepest, tokens),
      renew: (metered) => ledger.renew(id, metered, leaseMs),
      settle: (lines) => ledger.settle(id, lines),
    },
    reservedAt,
  );
  payer.waitUntil(meter.done);
  const { offer, lowered, rates } = answer;
  const { maxExit, maxTokens } = offer;
  const shorter = maxTokens < (wanted[0]?.maxTokens ?? 0) ? `; max_tokens=${maxTokens}` : "";
  return {
    maxExit: lowered === null ? null : maxExit,
    maxTokens,
    note: lowered === null ? "" : `; budget=${lowered}; max_exit=${maxExit}${shorter}`,
    headers: rateHeaders(rates),
    meter,
  };
}
