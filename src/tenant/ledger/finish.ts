/** The ends of a hold: settled, released, expired; and the renewal of its lease. Pure. */
import { periodStart } from "../period.ts";
import type { Policy } from "../policy.ts";
import type { UsageLine } from "../pricing.ts";
import {
  accountKey,
  periodsOf,
  RATE_WINDOW_MS,
  type Ending,
  type Finished,
  type Hold,
  type LedgerState,
  type Spent,
  type Step,
} from "./state.ts";

/** Time to `now`: admissions and holds whose lease is over end; holds are charged what they had metered. */
export function expire(state: LedgerState, policy: Policy, now: number): Step {
  const clock = Math.max(state.clock, now);
  const admitted = new Map([...state.admitted].filter(([, { leaseEnds }]) => leaseEnds > clock));
  let next: LedgerState = { ...state, clock, admitted, begun: state.begun.after(clock - RATE_WINDOW_MS) };
  const finished: Finished[] = [];
  for (const hold of state.holds.values()) {
    if (hold.leaseEnds > clock) continue;
    const ended = end(next, policy, hold, "expired", hold.metered);
    next = ended.state;
    finished.push(ended.finished);
  }
  return { state: next, finished };
}

/**
 * Ends a hold with what its request really used. A second time, or after the lease is over, nothing happens.
 * @param lines what it used; empty releases the hold without a charge
 */
export function settle(
  before: LedgerState,
  policy: Policy,
  id: string,
  lines: readonly UsageLine[],
  now: number,
): Step & { readonly settled: boolean } {
  const { state, finished } = expire(before, policy, now);
  const hold = state.holds.get(id);
  if (hold === undefined) return { state, finished, settled: false };
  const ended = end(state, policy, hold, lines.length === 0 ? "released" : "settled", lines);
  return { state: ended.state, finished: [...finished, ended.finished], settled: true };
}

/**
 * Extends a hold's lease and notes what it has used so far; that only grows.
 * `leaseEnds` is null when the hold is gone: the answer must stop.
 */
export function renew(
  before: LedgerState,
  policy: Policy,
  id: string,
  metered: readonly UsageLine[],
  leaseMs: number,
  now: number,
): Step & { readonly leaseEnds: number | null } {
  const { state, finished } = expire(before, policy, now);
  const hold = state.holds.get(id);
  if (hold === undefined) return { state, finished, leaseEnds: null };
  const grown = costOf(metered) >= costOf(hold.metered) ? metered : hold.metered;
  const renewed: Hold = { ...hold, metered: grown, leaseEnds: Math.max(hold.leaseEnds, state.clock + leaseMs) };
  const next = { ...state, holds: new Map(state.holds).set(id, renewed) };
  return { state: next, finished, leaseEnds: renewed.leaseEnds };
}

/** Takes the hold away and charges the accounts of the period it was taken in; a closed period has none left. */
function end(
  state: LedgerState,
  policy: Policy,
  hold: Hold,
  ending: Ending,
  used: readonly UsageLine[],
): { readonly state: LedgerState; readonly finished: Finished } {
  const lines = capped(used, hold.bound);
  const cost = costOf(lines);
  const holds = new Map(state.holds);
  holds.delete(hold.id);
  const spent = new Map(state.spent);
  for (const period of periodsOf(policy)) {
    const start = periodStart(period, hold.takenAt);
    for (const keyId of [null, hold.keyId]) {
      const key = accountKey(period, keyId);
      spent.set(key, charged(spent.get(key), start, cost));
    }
  }
  const begun = state.begun.end(hold.id, hold.takenAt, lines.length === 0 ? null : tokensOf(lines));
  const finished = { hold, ending, at: state.clock, lines };
  return { state: { ...state, holds, spent, begun }, finished };
}

function charged(account: Spent | undefined, start: number, cost: number): Spent {
  if (account === undefined || account.start < start) return { start, micro: cost };
  return account.start === start ? { start, micro: account.micro + cost } : account;
}

/** A hold is charged its bound at the most: whoever metered more is wrong, and the tenant does not pay for it. */
function capped(lines: readonly UsageLine[], bound: number): readonly UsageLine[] {
  let left = bound;
  return lines.map((line) => {
    const cost = Math.min(Math.max(line.cost, 0), left);
    left -= cost;
    return { ...line, cost };
  });
}

export function costOf(lines: readonly UsageLine[]): number {
  return lines.reduce((sum, { cost }) => sum + cost, 0);
}

/** Prompt and completion tokens. */
export function tokensOf(lines: readonly UsageLine[]): number {
  return lines.reduce((sum, { promptTokens, completionTokens }) => sum + promptTokens + completionTokens, 0);
}
