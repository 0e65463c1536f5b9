/** An account whose ledger is the real one, without a store: what it granted, and what it was told. */
import type { Payer } from "../../src/payment.ts";
import { costOf, renew, settle } from "../../src/tenant/ledger/finish.ts";
import { reserve } from "../../src/tenant/ledger/reserve.ts";
import { restore, type Finished, type LedgerState, type Step } from "../../src/tenant/ledger/state.ts";
import type { Policy } from "../../src/tenant/policy.ts";
import { DEFAULT_PRICES, type UsageLine } from "../../src/tenant/pricing.ts";
import { CALLER } from "./api-flow.ts";

export const UNLIMITED: Policy = {
  budgets: [],
  rates: { requests_per_minute: null, tokens_per_minute: null, concurrent_requests: null },
  exits: null,
  prices: DEFAULT_PRICES,
};

/** A policy with one budget that never resets. */
export function budgetOf(limitMicroUsd: number, change: Partial<Policy> = {}): Policy {
  const budget = { name: "all", period: "none" as const, limit_micro_usd: limitMicroUsd, soft_limits: [] };
  return { ...UNLIMITED, budgets: [budget], ...change };
}

export interface MemoryAccount {
  readonly payer: Payer;
  /** Every hold that ended, in the order they did. */
  readonly finished: Finished[];
  /** Lines as they were settled, before the ledger's own cap. */
  readonly settled: (readonly UsageLine[])[];
  /** Micro-dollars of each settlement. */
  readonly costs: number[];
  /** Micro-dollars that are held now. */
  held(): number;
  /** Resolves when no request keeps its context alive any more. */
  drained(): Promise<unknown>;
  /** The ledger forgets every hold. */
  loseHolds(): void;
}

export function memoryAccount(policy: Policy = UNLIMITED, leaseMs = 60_000): MemoryAccount {
  const none = { holds: [], begunSince: () => [], chargedBetween: () => [] };
  let state: LedgerState = restore(policy, none, Date.now());
  const finished: Finished[] = [];
  const settled: (readonly UsageLine[])[] = [];
  const costs: number[] = [];
  const kept: Promise<unknown>[] = [];
  function keep<T extends Step>(step: T): T {
    state = step.state;
    finished.push(...step.finished);
    return step;
  }
  const { exits, prices } = policy;
  const payer: Payer = {
    caller: { ...CALLER, policy: { exits, prices } },
    /** One a request: requests of these tests come without an admission. */
    get admissionId() {
      return crypto.randomUUID();
    },
    ledger: {
      async reserve({ keyId: id, leaseMs: lease, ...ask }) {
        const key = { id, limits: CALLER.limits };
        const result = keep(reserve(state, policy, { ...ask, key }, lease, Date.now()));
        if (!result.ok) return { ok: false, refusal: result.refusal, rates: result.rates };
        const { offer, lowered, rates } = result.grant;
        return { ok: true, offer, lowered, rates };
      },
      async renew(id, metered, lease) {
        return keep(renew(state, policy, id, metered, lease, Date.now())).leaseEnds !== null;
      },
      async settle(id, lines) {
        settled.push(lines);
        costs.push(costOf(lines));
        return keep(settle(state, policy, id, lines, Date.now())).settled;
      },
    },
    leaseMs,
    waitUntil: (done) => void kept.push(done),
  };
  return {
    payer,
    finished,
    settled,
    costs,
    held: () => [...state.holds.values()].reduce((sum, { bound }) => sum + bound, 0),
    drained: () => Promise.all(kept),
    loseHolds: () => void (state = { ...state, holds: new Map() }),
  };
}
