/** Taking a hold: the best offer that every budget and rate allows, or the reason why none does. Pure. */
import type { Policy } from "../policy.ts";
import type { Offer } from "../pricing.ts";
import { accountsOf, depthLimit, remaining, type Account, type Asking, type DepthLimit } from "./accounts.ts";
import { withoutAdmission } from "./admission.ts";
import { expire } from "./finish.ts";
import { rateViews, requestRefusal, tokenRefusal, type RateRefusal, type RateViews } from "./rates.ts";
import type { Hold, LedgerState, Step } from "./state.ts";

/** About one answer: what a hold is given back after. */
const HELD_RETRY_MS = 2_000;

/** What a request asks of its tenant's ledger. */
export interface Ask {
  /** Never used twice; the admission's, if the request was admitted. */
  readonly id: string;
  readonly requestId: string;
  readonly key: Asking;
  /** Best first, at least one. */
  readonly offers: readonly Offer[];
  /** The caller named the exit: a soft limit refuses it where it would lead others to a shallower one. */
  readonly exitFixed: boolean;
}

export interface Grant {
  readonly offer: Offer;
  readonly leaseEnds: number;
  /** Why it is not the first offer: a budget's name, or `tokens_per_minute`; null when it is. */
  readonly lowered: string | null;
  readonly rates: RateViews;
}

export type Refusal =
  /** It does not fit into what is left, and would not if every hold were released unused. */
  | { readonly kind: "budget_spent"; readonly account: Account; readonly bound: number }
  /** It would fit, or not be too deep, if running requests gave back what they hold. */
  | { readonly kind: "budget_held"; readonly account: Account; readonly retryAfterMs: number }
  /** The exit that was asked for is deeper than a soft limit allows now. */
  | { readonly kind: "exit_too_deep"; readonly account: Account; readonly maxExit: number }
  | RateRefusal;

export type Reservation = Step &
  (
    | { readonly ok: true; readonly grant: Grant }
    | { readonly ok: false; readonly refusal: Refusal; readonly rates: RateViews }
  );

/**
 * Takes the place over that the request was admitted to, or asks for one.
 * @param leaseMs how long the hold lasts unless it is renewed
 */
export function reserve(before: LedgerState, policy: Policy, ask: Ask, leaseMs: number, now: number): Reservation {
  const { state: current, finished } = expire(before, policy, now);
  const known = current.holds.get(ask.id);
  if (known !== undefined) return repeated(current, finished, policy, ask, known);
  const admission = current.admitted.get(ask.id);
  const state = withoutAdmission(current, ask.id);
  const refused = (refusal: Refusal): Reservation => {
    return { ok: false, state, finished, refusal, rates: rateViews(state, policy, ask.key) };
  };
  const rate = admission === undefined ? requestRefusal(state, policy, ask.key) : null;
  if (rate !== null) return refused(rate);
  const accounts = accountsOf(state, policy, ask.key);
  const depth = depthLimit(policy, accounts);
  const within = offersWithin(ask, depth);
  if (depth !== null && within.length === 0) return refused(tooDeep(state, depth));
  let obstacle: Refusal | null = null;
  let lowered = within[0] === ask.offers[0] ? null : (depth?.account.budget ?? null);
  for (const offer of within) {
    obstacle = obstacleTo(state, policy, accounts, ask, offer);
    if (obstacle === null) {
      const begun = admission === undefined ? state.begun : state.begun.end(ask.id, admission.at, null);
      return granted({ ...state, begun }, finished, policy, ask, offer, lowered, leaseMs);
    }
    lowered = "account" in obstacle ? obstacle.account.budget : obstacle.kind;
  }
  if (obstacle === null) throw new Error("a reservation without an offer");
  return refused(obstacle);
}

/** The offers a soft limit leaves; where even the shallowest exit is deeper, that one is left. */
function offersWithin({ offers, exitFixed }: Ask, depth: DepthLimit | null): readonly Offer[] {
  if (depth === null) return offers;
  const within = offers.filter(({ maxExit }) => maxExit <= depth.maxExit);
  if (within.length > 0 || exitFixed) return within;
  const shallowest = Math.min(...offers.map(({ maxExit }) => maxExit));
  return offers.filter(({ maxExit }) => maxExit === shallowest);
}

/** A named exit that a soft limit does not allow: for now, or until the budget resets. */
function tooDeep(state: LedgerState, { account, maxExit, passing }: DepthLimit): Refusal {
  if (passing) return { kind: "budget_held", account, retryAfterMs: nextRelease(state) };
  return { kind: "exit_too_deep", account, maxExit };
}

/** Why an offer cannot be granted; null when it can. A budget that is spent comes before one that is only held. */
function obstacleTo(
  state: LedgerState,
  policy: Policy,
  accounts: readonly Account[],
  ask: Ask,
  offer: Offer,
): Refusal | null {
  const full = accounts.filter((account) => offer.bound > remaining(account));
  const spent = full.find(({ limit, spent: gone }) => offer.bound > limit - gone);
  if (spent !== undefined) return { kind: "budget_spent", account: spent, bound: offer.bound };
  const held = full[0];
  if (held !== undefined) return { kind: "budget_held", account: held, retryAfterMs: nextRelease(state) };
  return tokenRefusal(state, policy, offer.tokens);
}

/** Milliseconds until a hold may well be given back: an answer's time, or the end of the first lease. */
function nextRelease(state: LedgerState): number {
  const ends = [...state.holds.values()].map(({ leaseEnds }) => leaseEnds);
  return Math.min(...ends.map((end) => end - state.clock), HELD_RETRY_MS);
}

function granted(
  before: LedgerState,
  finished: Step["finished"],
  policy: Policy,
  ask: Ask,
  offer: Offer,
  lowered: string | null,
  leaseMs: number,
): Reservation {
  const hold: Hold = {
    id: ask.id,
    keyId: ask.key.id,
    requestId: ask.requestId,
    takenAt: before.clock,
    leaseEnds: before.clock + leaseMs,
    bound: offer.bound,
    tokens: offer.tokens,
    metered: [],
  };
  const begun = { id: hold.id, keyId: hold.keyId, at: hold.takenAt, tokens: hold.tokens };
  const state = {
    ...before,
    holds: new Map(before.holds).set(hold.id, hold),
    begun: before.begun.add(begun),
  };
  const grant = { offer, leaseEnds: hold.leaseEnds, lowered, rates: rateViews(state, policy, ask.key) };
  return { ok: true, state, finished, grant };
}

/** The same request again, because its answer was lost on the way: the hold it has. */
function repeated(
  state: LedgerState,
  finished: Step["finished"],
  policy: Policy,
  ask: Ask,
  { bound, tokens, leaseEnds }: Hold,
): Reservation {
  const offer = ask.offers.find((each) => each.bound === bound && each.tokens === tokens);
  if (offer === undefined) throw new Error("two reservations have one id");
  const grant = { offer, leaseEnds, lowered: null, rates: rateViews(state, policy, ask.key) };
  return { ok: true, state, finished, grant };
}
