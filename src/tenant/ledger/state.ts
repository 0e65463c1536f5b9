/**
 * The ledger's memory: what is spent in the open periods, what is held, and what began in the last minute.
 * A value; every operation returns the next one. Instants are milliseconds since 1970, money is micro-dollars.
 */
import type { MicroUsd } from "../../money.ts";
import { periodEnd, periodStart, type Period } from "../period.ts";
import type { Policy } from "../policy.ts";
import type { UsageLine } from "../pricing.ts";
import { type Begun, RateWindow } from "./rate-window.ts";

/** Rates are counted over any so long a stretch. */
export const RATE_WINDOW_MS = 60_000;

/** A reservation not yet settled: a lease on a part of the budget. */
export interface Hold {
  /** Given by the Worker, never used twice. */
  readonly id: string;
  readonly keyId: string;
  /** The request's own id, for people: a client may send one twice. */
  readonly requestId: string;
  /** Decides which period it belongs to. */
  readonly takenAt: number;
  readonly leaseEnds: number;
  /** The most that it may be charged. */
  readonly bound: MicroUsd;
  /** The most tokens, prompt and completion. */
  readonly tokens: number;
  /** What the answer has used so far: the charge should it never be heard of again. */
  readonly metered: readonly UsageLine[];
}

/** A request that is being read: it has its place among those at once, and holds no money yet. */
export interface Admission {
  /** The reservation that takes it over has the same. */
  readonly id: string;
  readonly keyId: string;
  readonly at: number;
  readonly leaseEnds: number;
}

/** What one period's account has been charged. */
export interface Spent {
  readonly start: number;
  readonly micro: MicroUsd;
}

export interface LedgerState {
  /** The latest instant seen: time never runs back. */
  readonly clock: number;
  /** By {@link accountKey}. */
  readonly spent: ReadonlyMap<string, Spent>;
  readonly holds: ReadonlyMap<string, Hold>;
  /** In memory alone. */
  readonly admitted: ReadonlyMap<string, Admission>;
  readonly begun: RateWindow;
}

/** How a hold ended. */
export type Ending = "settled" | "released" | "expired";

/** A hold that has ended and what it was charged: the usage records to append. */
export interface Finished {
  readonly hold: Hold;
  readonly ending: Ending;
  readonly at: number;
  /** Empty when nothing is charged. */
  readonly lines: readonly UsageLine[];
}

/** What an operation did. */
export interface Step {
  readonly state: LedgerState;
  readonly finished: readonly Finished[];
}

/** @param keyId null: the whole tenant's account */
export function accountKey(period: Period, keyId: string | null): string {
  return keyId === null ? period : `${period}/${keyId}`;
}

/** What an account was charged in the period that begins at `start`. */
export function spentSince(state: LedgerState, period: Period, keyId: string | null, start: number): MicroUsd {
  const account = state.spent.get(accountKey(period, keyId));
  return account?.start === start ? account.micro : 0;
}

/** What is held of the period that begins at `start`. @param keyId null: of every key */
export function heldSince(state: LedgerState, period: Period, keyId: string | null, start: number): MicroUsd {
  let held = 0;
  for (const hold of state.holds.values()) {
    if ((keyId === null || hold.keyId === keyId) && periodStart(period, hold.takenAt) === start) held += hold.bound;
  }
  return held;
}

/** What the records say, from which a state is made. */
export interface Records {
  readonly holds: Iterable<Hold>;
  /** Requests that ended and began after `from`. */
  begunSince(from: number): Iterable<Begun>;
  /** Charges by key of the requests that began in `[from, to)`; `to` null: without end. */
  chargedBetween(from: number, to: number | null): Iterable<readonly [keyId: string, micro: MicroUsd]>;
}

/**
 * The state that the records imply: at start, and after the policy has changed.
 * @param before the state until now, whose admissions and refused requests no record has; null at start
 */
export function restore(
  policy: Policy,
  records: Records,
  now: number,
  before: Pick<LedgerState, "admitted" | "begun"> | null = null,
): LedgerState {
  const holds = new Map([...records.holds].map((hold) => [hold.id, hold]));
  const running = [...holds.values()].map(({ id, keyId, takenAt, tokens }) => ({ id, keyId, at: takenAt, tokens }));
  const recorded = [...records.begunSince(now - RATE_WINDOW_MS), ...running];
  const ids = new Set(recorded.map(({ id }) => id));
  const begun = RateWindow.of([...recorded, ...[...(before?.begun ?? [])].filter(({ id }) => !ids.has(id))]);
  const clock = Math.max(now, begun.newest(1, null)?.at ?? 0);
  const spent = new Map<string, Spent>();
  for (const period of periodsOf(policy)) {
    const start = periodStart(period, clock);
    let total = 0;
    for (const [keyId, micro] of records.chargedBetween(start, periodEnd(period, start))) {
      spent.set(accountKey(period, keyId), { start, micro });
      total += micro;
    }
    spent.set(accountKey(period, null), { start, micro: total });
  }
  return { clock, spent, holds, admitted: before?.admitted ?? new Map(), begun };
}

/** The periods that have a budget. */
export function periodsOf(policy: Policy): ReadonlySet<Period> {
  return new Set(policy.budgets.map(({ period }) => period));
}
