/** What a reservation is granted, or refused with: the cases that random histories meet too seldom. */
import { describe, expect, test } from "vitest";
import type { Asking } from "../../src/tenant/ledger/accounts.ts";
import { settle } from "../../src/tenant/ledger/finish.ts";
import { reserve, type Ask } from "../../src/tenant/ledger/reserve.ts";
import { restore, type LedgerState } from "../../src/tenant/ledger/state.ts";
import { NO_KEY_LIMITS, type Policy } from "../../src/tenant/policy.ts";
import { DEFAULT_PRICES, type UsageLine } from "../../src/tenant/pricing.ts";
import { LEASE_MS } from "./ledger-history.ts";

/** Noon: no period ends soon. */
const START = Date.UTC(2026, 10, 25, 12);

type Budget = Policy["budgets"][number];
const daily: Budget = {
  name: "daily",
  period: "day",
  limit_micro_usd: 1_000,
  soft_limits: [
    { share: 0.5, max_exit: 9 },
    { share: 0.8, max_exit: 3 },
  ],
};
const policyOf = (...budgets: Budget[]): Policy => ({
  budgets,
  rates: { requests_per_minute: null, tokens_per_minute: null, concurrent_requests: null },
  exits: null,
  prices: DEFAULT_PRICES,
});
const KEY: Asking = { id: "key", limits: NO_KEY_LIMITS };
const offer = (maxExit: number, bound: number) => ({ maxExit, maxTokens: 10, bound });
const LADDER = [offer(12, 100), offer(9, 75), offer(6, 50), offer(3, 25)];
const askOf = (id: string, change: Partial<Ask> = {}): Ask => ({
  id,
  requestId: id,
  key: KEY,
  promptTokens: 5,
  offers: LADDER,
  exitFixed: false,
  ...change,
});
const line = (cost: number): UsageLine => {
  return { exit: 3, tier: "edge", promptTokens: 5, cachedTokens: 0, completionTokens: 1, cost };
};

/** A ledger in which so much is spent, and so much held. */
function ledger(policy: Policy, { spent = 0, held = 0 }): LedgerState {
  let state = restore(
    policy,
    { holds: [], begunSince: () => [], chargedBetween: () => [["key", spent] as const] },
    START,
  );
  if (held > 0) state = reserve(state, policy, askOf("held", { offers: [offer(3, held)] }), LEASE_MS, START).state;
  return state;
}

const ask = (policy: Policy, used: { spent?: number; held?: number }, change: Partial<Ask> = {}) =>
  reserve(ledger(policy, used), policy, askOf("r1", change), LEASE_MS, START);

describe("granted", () => {
  test.each([
    [0, 12, null],
    [499, 12, null],
    [500, 9, "daily"],
    [799, 9, "daily"],
    [800, 3, "daily"],
    [975, 3, "daily"],
  ])("with %i of 1000 spent: exit %i", (spent, maxExit, lowered) => {
    expect(ask(policyOf(daily), { spent })).toMatchObject({ ok: true, grant: { offer: { maxExit }, lowered } });
  });

  test("what is held counts for the soft limit, too", () => {
    expect(ask(policyOf(daily), { spent: 300, held: 200 })).toMatchObject({ grant: { offer: { maxExit: 9 } } });
  });

  test("the deepest exit whose bound fits, and the budget that barred the deeper", () => {
    const hard = { ...daily, soft_limits: [] };
    const result = ask(policyOf({ ...hard, name: "wide", limit_micro_usd: 9_000 }, hard), { spent: 940 });
    expect(result).toMatchObject({ grant: { offer: { maxExit: 6, bound: 50 }, lowered: "daily" } });
  });

  test("the shallowest exit, where a soft limit lies below it", () => {
    const below = { ...daily, soft_limits: [{ share: 0, max_exit: 1 }] };
    expect(ask(policyOf(below), {})).toMatchObject({ grant: { offer: { maxExit: 3 }, lowered: "daily" } });
  });

  test("once, however often it is asked under one id", () => {
    const policy = policyOf(daily);
    const first = reserve(ledger(policy, {}), policy, askOf("r1"), LEASE_MS, START);
    const again = reserve(first.state, policy, askOf("r1"), LEASE_MS, START + 1);
    expect(again).toMatchObject({ ok: true, grant: { offer: { maxExit: 12 } } });
    expect(again.state.holds.size).toBe(1);
    expect(() => reserve(first.state, policy, askOf("r1", { offers: [offer(3, 7)] }), LEASE_MS, START)).toThrow();
  });

  test("again, when a hold gives back what it did not use", () => {
    const policy = policyOf({ ...daily, soft_limits: [] });
    const state = ledger(policy, { spent: 0, held: 1_000 });
    expect(reserve(state, policy, askOf("r1"), LEASE_MS, START).ok).toBe(false);
    const settled = settle(state, policy, "held", [line(10)], START).state;
    expect(reserve(settled, policy, askOf("r1"), LEASE_MS, START).ok).toBe(true);
  });
});

describe("refused", () => {
  test("what is spent comes before what is only held", () => {
    const other: Budget = { ...daily, name: "hourly", period: "hour", limit_micro_usd: 20, soft_limits: [] };
    const result = ask(policyOf({ ...daily, soft_limits: [] }, other), { spent: 10 });
    expect(result).toMatchObject({ refusal: { kind: "budget_spent", account: { budget: "hourly" }, bound: 25 } });
  });

  test("held: come back when an answer's time is over, at the latest when the first lease is", () => {
    const policy = policyOf({ ...daily, soft_limits: [] });
    const state = ledger(policy, { held: 990 });
    const at = (now: number) => reserve(state, policy, askOf("r1"), LEASE_MS, now);
    expect(at(START)).toMatchObject({ refusal: { kind: "budget_held", retryAfterMs: 2_000 } });
    expect(at(START + LEASE_MS - 500)).toMatchObject({ refusal: { kind: "budget_held", retryAfterMs: 500 } });
    expect(at(START + LEASE_MS).ok).toBe(true);
  });

  const named = { exitFixed: true, offers: [offer(12, 100)] };

  test("an exit that was named and is too deep now", () => {
    expect(ask(policyOf(daily), { spent: 500 }, named)).toMatchObject({
      refusal: { kind: "exit_too_deep", maxExit: 9, account: { budget: "daily", spent: 500 } },
    });
  });

  test("one that is too deep only while others run: come back", () => {
    expect(ask(policyOf(daily), { spent: 100, held: 450 }, named)).toMatchObject({
      refusal: { kind: "budget_held", retryAfterMs: 2_000 },
    });
  });

  test("a key that has used its share, while the tenant has not", () => {
    const key = { id: "key", limits: { ...NO_KEY_LIMITS, budget_share: 0.1 } };
    const result = ask(policyOf({ ...daily, soft_limits: [] }), { spent: 90 }, { key });
    expect(result).toMatchObject({
      refusal: { kind: "budget_spent", account: { scope: "key", limit: 100, spent: 90 } },
    });
  });
});
