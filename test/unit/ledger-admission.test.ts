/** A request's place among its tenant's: from before its body is read until its reservation, or its refusal. */
import { expect, test } from "vitest";
import type { Asking } from "../../src/tenant/ledger/accounts.ts";
import { admit, leave } from "../../src/tenant/ledger/admission.ts";
import { expire } from "../../src/tenant/ledger/finish.ts";
import { rateViews } from "../../src/tenant/ledger/rates.ts";
import { reserve } from "../../src/tenant/ledger/reserve.ts";
import { restore, type LedgerState } from "../../src/tenant/ledger/state.ts";
import { NO_KEY_LIMITS } from "../../src/tenant/policy.ts";
import { budgetOf } from "./memory-payer.ts";

const LEASE_MS = 60_000;
const START = Date.UTC(2026, 10, 25, 12);
const KEY: Asking = { id: "key", limits: NO_KEY_LIMITS };
const NO_RECORDS = { holds: [], begunSince: () => [], chargedBetween: () => [] };
/** One request at once, five a minute, and no money at all. */
const POLICY = budgetOf(0, {
  rates: { requests_per_minute: 5, tokens_per_minute: null, concurrent_requests: 1 },
});
const EMPTY = restore(POLICY, NO_RECORDS, START);

function admitted(state: LedgerState, id: string): LedgerState {
  const result = admit(state, POLICY, { id, key: KEY }, LEASE_MS, START);
  expect(result.ok).toBe(true);
  return result.state;
}

const refusalOf = (state: LedgerState, now = START) => {
  const result = admit(state, POLICY, { id: "next", key: KEY }, LEASE_MS, now);
  return result.ok ? null : result.refusal.kind;
};

const reserved = (state: LedgerState, id: string) => {
  const offers = [{ maxExit: 3, maxTokens: 10, tokens: 15, bound: 25 }];
  const ask = { id, requestId: id, key: KEY, offers, exitFixed: false };
  return reserve(state, POLICY, ask, LEASE_MS, START);
};

const requestsLeft = (state: LedgerState) => rateViews(state, POLICY, KEY).requests?.remaining;

test("a request that is being read has its place: no second one is read beside it", () => {
  expect(refusalOf(admitted(EMPTY, "a"))).toBe("concurrent_requests");
});

test("one that the client got wrong gives the place back and counts to the minute", () => {
  let state = EMPTY;
  for (const id of ["a", "b", "c", "d", "e"]) state = leave(admitted(state, id), POLICY, id, true, START).state;
  expect(requestsLeft(state)).toBe(0);
  expect(refusalOf(state)).toBe("requests_per_minute");
});

test("one that failed here gives it back and does not count", () => {
  const { state } = leave(admitted(EMPTY, "a"), POLICY, "a", false, START);
  expect(requestsLeft(state)).toBe(5);
  expect(refusalOf(state)).toBeNull();
});

test("one whose budget is spent gives it back and counts: reading it was work", () => {
  const result = reserved(admitted(EMPTY, "a"), "a");
  expect(result).toMatchObject({ ok: false, refusal: { kind: "budget_spent" } });
  expect(result.state.admitted.size).toBe(0);
  expect(requestsLeft(result.state)).toBe(4);
});

test("its reservation takes the place over, and it counts once", () => {
  const rich = { ...POLICY, budgets: [] };
  const before = admitted(EMPTY, "a");
  const offers = [{ maxExit: 3, maxTokens: 10, tokens: 15, bound: 25 }];
  const ask = { id: "a", requestId: "r", key: KEY, offers, exitFixed: false };
  const { state, ok } = reserve(before, rich, ask, LEASE_MS, START);
  expect(ok).toBe(true);
  expect([state.admitted.size, state.holds.size, [...state.begun].length]).toEqual([0, 1, 1]);
  expect(leave(state, rich, "a", false, START).state).toEqual(state); // too late: it holds
});

test("one that is never heard of again gives it back when its lease is over", () => {
  const state = admitted(EMPTY, "a");
  expect(refusalOf(state, START + LEASE_MS - 1)).toBe("concurrent_requests");
  expect(refusalOf(state, START + LEASE_MS)).toBeNull();
  expect(expire(state, POLICY, START + LEASE_MS).state.admitted.size).toBe(0);
});

test("a new policy finds who is being read, and who was refused in the last minute", () => {
  const state = admitted(leave(admitted(EMPTY, "a"), POLICY, "a", true, START).state, "b");
  const after = restore(POLICY, NO_RECORDS, START, state);
  expect(refusalOf(after)).toBe("concurrent_requests");
  expect(requestsLeft(after)).toBe(3);
});
