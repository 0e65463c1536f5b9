/** A ledger driven through a history, and beside it the records that a store would keep: the truth to compare with. */
import fc from "fast-check";
import { accountsOf, type Asking } from "../../src/tenant/ledger/accounts.ts";
import { admit, leave } from "../../src/tenant/ledger/admission.ts";
import { expire, renew, settle, tokensOf } from "../../src/tenant/ledger/finish.ts";
import { reserve, type Reservation } from "../../src/tenant/ledger/reserve.ts";
import { restore, type Finished, type Hold, type LedgerState, type Records } from "../../src/tenant/ledger/state.ts";
import { NO_KEY_LIMITS, type Policy } from "../../src/tenant/policy.ts";
import { DEFAULT_PRICES, type Offer, type UsageLine } from "../../src/tenant/pricing.ts";

export const LEASE_MS = 60_000;
/** The last half minute of a Sunday and of a month: every period changes while the first holds are held. */
export const START = Date.UTC(2026, 4, 31, 23, 59, 30);

export const KEYS: readonly Asking[] = [
  { id: "whole", limits: NO_KEY_LIMITS },
  { id: "half", limits: { ...NO_KEY_LIMITS, budget_share: 0.5 } },
  { id: "slow", limits: { ...NO_KEY_LIMITS, requests_per_minute: 2 } },
];

/** Ids are picked among all that were ever reserved, so most histories settle, renew and release twice. */
export type Action =
  | { readonly do: "admit"; readonly key: number }
  | { readonly do: "leave"; readonly pick: number; readonly counts: boolean }
  | {
      readonly do: "reserve";
      readonly key: number;
      readonly bounds: readonly number[];
      readonly fixed: boolean;
      /** Picks the admission that it takes over, whose key it then has; null, or none waits: it comes without one. */
      readonly admission: number | null;
    }
  | { readonly do: "settle"; readonly pick: number; readonly cost: number; readonly tokens: number }
  | { readonly do: "renew"; readonly pick: number; readonly cost: number }
  | { readonly do: "release"; readonly pick: number }
  | { readonly do: "time"; readonly ms: number }
  | { readonly do: "crash" }
  | { readonly do: "policy"; readonly policy: Policy };

/** `max`: not mostly short ones. */
const LENGTH = { maxLength: 40, size: "max" } as const;

const cost = fc.oneof(fc.integer({ min: 0, max: 60 }), fc.integer({ min: 0, max: 400 }));
const pick = fc.nat({ max: 30 });

export const policies: fc.Arbitrary<Policy> = fc.record({
  budgets: fc.uniqueArray(
    fc.record({
      name: fc.constantFrom("a", "b", "c"),
      period: fc.constantFrom("hour", "day", "week", "month", "none"),
      limit_micro_usd: fc.oneof(fc.integer({ min: 0, max: 300 }), fc.constant(0), fc.integer({ min: 100, max: 2_000 })),
      soft_limits: fc.array(
        fc.record({ share: fc.double({ min: 0, max: 1, noNaN: true }), max_exit: fc.constantFrom(3, 6, 9) }),
        { maxLength: 2 },
      ),
    }),
    { selector: ({ name }) => name, maxLength: 3 },
  ),
  rates: fc.record({
    requests_per_minute: fc.option(fc.integer({ min: 1, max: 6 })),
    tokens_per_minute: fc.option(fc.integer({ min: 1, max: 300 })),
    concurrent_requests: fc.option(fc.integer({ min: 1, max: 4 })),
  }),
  exits: fc.constant(null),
  prices: fc.constant(DEFAULT_PRICES),
}) as fc.Arbitrary<Policy>;

const reserving = fc.record({
  do: fc.constant("reserve" as const),
  key: fc.nat({ max: KEYS.length - 1 }),
  bounds: fc.array(cost, { minLength: 1, maxLength: 4 }).map((bounds) => bounds.toSorted((a, b) => b - a)),
  fixed: fc.boolean(),
  admission: fc.option(fc.nat({ max: 30 })),
});
const living: fc.Arbitrary<Action> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc.record({ do: fc.constant("admit" as const), key: fc.nat({ max: KEYS.length - 1 }) }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("leave" as const), pick, counts: fc.boolean() }) },
  { weight: 6, arbitrary: reserving },
  {
    weight: 4,
    arbitrary: fc.record({ do: fc.constant("settle" as const), pick, cost, tokens: fc.nat({ max: 120 }) }),
  },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("renew" as const), pick, cost }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("release" as const), pick }) },
  {
    weight: 3,
    arbitrary: fc.record({
      do: fc.constant("time" as const),
      ms: fc.oneof(
        fc.integer({ min: -10_000, max: 30_000 }), // clocks are set back, too
        fc.integer({ min: 0, max: 70_000 }),
        fc.integer({ min: 0, max: 3 * 3_600_000 }),
        fc.integer({ min: 0, max: 40 * 86_400_000 }),
      ),
    }),
  },
  { weight: 1, arbitrary: fc.constant<Action>({ do: "crash" }) },
);

/** Histories of one policy. */
export const histories = fc.array(living, LENGTH);
/** Histories whose limits and periods change on the way. */
export const changingHistories = fc.array(
  fc.oneof(
    { weight: 8, arbitrary: living },
    { weight: 1, arbitrary: fc.record({ do: fc.constant("policy" as const), policy: policies }) },
  ),
  LENGTH,
);

/** What `takenAt` the records of a finished request have, and who pays. */
export interface UsageRecord extends UsageLine {
  readonly id: string;
  readonly keyId: string;
  readonly takenAt: number;
}

export class History {
  state: LedgerState;
  now = START;
  policy: Policy;
  /** Append-only. */
  readonly usage: UsageRecord[] = [];
  readonly endings: Finished[] = [];
  readonly ids: string[] = [];
  /** The most that each request's renewals have metered. */
  readonly metered = new Map<string, number>();
  readonly granted: { readonly id: string; readonly keyId: string; readonly at: number; readonly tokens: number }[] =
    [];
  /** The last reservation's outcome. */
  last: Reservation | null = null;
  /** The key that it was for. */
  lastKeyId = "";
  /** Whether the last action gave a request its place among those at once. */
  placed = false;
  /** Requests that count to the minute, by id; a crash forgets those without a hold. */
  readonly counted = new Map<string, { readonly keyId: string; readonly at: number }>();
  #admissions = 0;

  constructor(policy: Policy) {
    this.policy = policy;
    this.state = restore(policy, this.#records([]), START);
  }

  do(action: Action): void {
    const id = "pick" in action ? (this.ids[action.pick % Math.max(this.ids.length, 1)] ?? "unknown") : "";
    this.last = null;
    this.placed = false;
    switch (action.do) {
      case "admit":
        return this.#admit(KEYS[action.key]!);
      case "leave":
        return this.#leave(action.pick, action.counts);
      case "reserve":
        return this.#reserve(action);
      case "settle":
        return this.#keep(settle(this.state, this.policy, id, linesOf(action.cost, action.tokens), this.now));
      case "release":
        return this.#keep(settle(this.state, this.policy, id, [], this.now));
      case "renew": {
        const result = renew(this.state, this.policy, id, linesOf(action.cost, 1), LEASE_MS, this.now);
        if (result.leaseEnds !== null) this.metered.set(id, Math.max(this.metered.get(id) ?? 0, action.cost));
        return this.#keep(result);
      }
      case "time":
        this.now += action.ms;
        return this.#keep(expire(this.state, this.policy, this.now));
      case "crash":
        this.state = this.restored();
        for (const counting of this.counted.keys()) if (!this.ids.includes(counting)) this.counted.delete(counting);
        return;
      case "policy":
        this.policy = action.policy;
        this.state = restore(this.policy, this.#records(this.state.holds.values()), this.now, this.state);
        return;
      default:
        action satisfies never;
    }
  }

  #admit(key: Asking): void {
    const id = `a${this.#admissions++}`;
    const result = admit(this.state, this.policy, { id, key }, LEASE_MS, this.now);
    this.#keep(result);
    this.placed = result.ok;
    if (result.ok) this.counted.set(id, { keyId: key.id, at: this.state.clock });
  }

  #leave(pick: number, counts: boolean): void {
    const id = this.#waiting(pick)?.id ?? "unknown";
    this.#keep(leave(this.state, this.policy, id, counts, this.now));
    if (!counts) this.counted.delete(id);
  }

  /** An admission that is not over. */
  #waiting(pick: number) {
    const { admitted } = expire(this.state, this.policy, this.now).state;
    return [...admitted.values()][pick % Math.max(admitted.size, 1)];
  }

  #reserve({ key: own, bounds, fixed: exitFixed, admission }: Extract<Action, { do: "reserve" }>): void {
    const waiting = admission === null ? undefined : this.#waiting(admission);
    const key = KEYS.find(({ id }) => id === waiting?.keyId) ?? KEYS[own]!;
    const id = waiting?.id ?? `r${this.ids.length}`;
    const ask = { id, requestId: id, key, offers: offersOf(bounds, exitFixed), exitFixed };
    const result = reserve(this.state, this.policy, ask, LEASE_MS, this.now);
    this.#keep(result);
    this.last = result;
    this.lastKeyId = key.id;
    if (!result.ok) return;
    this.placed = waiting === undefined;
    this.counted.set(id, { keyId: key.id, at: this.state.clock });
    this.ids.push(id);
    this.granted.push({ id, keyId: key.id, at: this.state.clock, tokens: result.grant.offer.tokens });
  }

  /** The state that the records alone imply. */
  restored(): LedgerState {
    return restore(this.policy, this.#records(this.state.holds.values()), this.now);
  }

  /** Every account of every key. */
  accounts() {
    return KEYS.flatMap((key) => accountsOf(this.state, this.policy, key));
  }

  #keep({ state, finished }: { state: LedgerState; finished: readonly Finished[] }): void {
    this.state = state;
    for (const { hold, lines, ...rest } of finished) {
      this.endings.push({ hold, lines, ...rest });
      if (lines.length === 0) this.counted.delete(hold.id);
      for (const line of lines) this.usage.push({ ...line, id: hold.id, keyId: hold.keyId, takenAt: hold.takenAt });
    }
  }

  #records(holds: Iterable<Hold>): Records {
    const { endings, usage } = this;
    return {
      holds,
      begunSince: (from) =>
        endings
          .filter(({ hold, lines }) => hold.takenAt > from && lines.length > 0)
          .map(({ hold, lines }) => ({ id: hold.id, keyId: hold.keyId, at: hold.takenAt, tokens: tokensOf(lines) })),
      chargedBetween(from, to) {
        const sums = new Map<string, number>();
        for (const { keyId, takenAt, cost: paid } of usage) {
          if (takenAt >= from && (to === null || takenAt < to)) sums.set(keyId, (sums.get(keyId) ?? 0) + paid);
        }
        return sums;
      },
    };
  }
}

/** Deepest first; a caller that fixes the exit has one offer. */
function offersOf(bounds: readonly number[], fixed: boolean): Offer[] {
  const offers = bounds.map((bound, index) => {
    return { maxExit: 12 - 3 * index, maxTokens: 20 + index, tokens: 30 + index, bound };
  });
  return fixed ? offers.slice(0, 1) : offers;
}

/** What the answer used, at two exits. */
function linesOf(paid: number, completionTokens: number): UsageLine[] {
  const first = paid >> 1;
  const line = { tier: "edge" as const, cachedTokens: 0 };
  return [
    { ...line, exit: 3, promptTokens: 10, completionTokens: 0, cost: first },
    { ...line, exit: 6, promptTokens: 0, completionTokens, cost: paid - first },
  ];
}
