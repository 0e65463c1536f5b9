/**
 * Admission: a request takes its place among those at once, and counts to the minute, before anything of it is read.
 * Its reservation takes the place over; a request that gets none leaves. Admissions live in memory alone: a tenant's
 * object that restarts forgets them, and a reservation then asks the rates anew. Pure.
 */
import type { Policy } from "../policy.ts";
import type { Asking } from "./accounts.ts";
import { expire } from "./finish.ts";
import { rateViews, requestRefusal, type RateRefusal, type RateViews } from "./rates.ts";
import type { Admission, LedgerState, Step } from "./state.ts";

export type Admitting = Step &
  ({ readonly ok: true } | { readonly ok: false; readonly refusal: RateRefusal; readonly rates: RateViews });

/**
 * @param id the request's reservation will have the same; never used twice
 * @param leaseMs how long the place is kept for a request that is not heard of again
 */
export function admit(
  before: LedgerState,
  policy: Policy,
  { id, key }: { readonly id: string; readonly key: Asking },
  leaseMs: number,
  now: number,
): Admitting {
  const { state, finished } = expire(before, policy, now);
  const refusal = requestRefusal(state, policy, key);
  if (refusal !== null) return { ok: false, state, finished, refusal, rates: rateViews(state, policy, key) };
  const admission: Admission = { id, keyId: key.id, at: state.clock, leaseEnds: state.clock + leaseMs };
  const admitted = new Map(state.admitted).set(id, admission);
  const begun = state.begun.add({ id, keyId: key.id, at: state.clock, tokens: 0 });
  return { ok: true, state: { ...state, admitted, begun }, finished };
}

/**
 * Ends an admission that no reservation took over; where one did, or the lease is over, nothing happens.
 * @param counts whether the request still counts to the minute: those that the client got wrong do
 */
export function leave(before: LedgerState, policy: Policy, id: string, counts: boolean, now: number): Step {
  const { state, finished } = expire(before, policy, now);
  const admission = state.admitted.get(id);
  if (admission === undefined) return { state, finished };
  const left = withoutAdmission(state, id);
  return { state: counts ? left : { ...left, begun: left.begun.end(id, admission.at, null) }, finished };
}

/** The place is free again; the request stays in the minute. */
export function withoutAdmission(state: LedgerState, id: string): LedgerState {
  if (!state.admitted.has(id)) return state;
  const admitted = new Map(state.admitted);
  admitted.delete(id);
  return { ...state, admitted };
}
