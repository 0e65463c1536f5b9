/** The ledger's promises, over thousands of random histories. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Account } from "../../src/tenant/ledger/accounts.ts";
import { costOf, expire } from "../../src/tenant/ledger/finish.ts";
import { heldSince, RATE_WINDOW_MS, spentSince } from "../../src/tenant/ledger/state.ts";
import { periodEnd, periodStart } from "../../src/tenant/period.ts";
import { changingHistories, histories, History, KEYS, LEASE_MS, policies, type Action } from "./ledger-history.ts";

const RUNS = { numRuns: 1_500 };

/** Runs every history and checks after each action. */
function always(actions: fc.Arbitrary<Action[]>, check: (history: History, action: Action) => void): void {
  fc.assert(
    fc.property(policies, actions, (policy, list) => {
      const history = new History(policy);
      for (const action of list) {
        history.do(action);
        check(history, action);
      }
    }),
    RUNS,
  );
}

const remaining = ({ limit, spent, held }: Account): number => limit - spent - held;
const sum = (numbers: Iterable<number>): number => [...numbers].reduce((total, each) => total + each, 0);

describe("spent + held ≤ limit", () => {
  test("after every action, in the tenant's accounts and in every key's", () => {
    always(histories, (history) => {
      for (const account of history.accounts()) expect(remaining(account)).toBeGreaterThanOrEqual(0);
    });
  });

  test("in every period that ever was, by the records alone", () => {
    always(histories, ({ usage, state, policy }) => {
      for (const { period, limit_micro_usd: limit } of policy.budgets) {
        const totals = new Map<number, number>();
        const add = (at: number, micro: number) => {
          const start = periodStart(period, at);
          totals.set(start, (totals.get(start) ?? 0) + micro);
        };
        for (const { takenAt, cost } of usage) add(takenAt, cost);
        for (const { takenAt, bound } of state.holds.values()) add(takenAt, bound);
        for (const total of totals.values()) expect(total).toBeLessThanOrEqual(limit);
      }
    });
  });

  test("nothing is granted that does not fit, also after limits and periods have changed", () => {
    always(changingHistories, (history) => {
      if (history.last?.ok !== true) return;
      const key = KEYS.find(({ id }) => id === history.granted.at(-1)?.keyId);
      for (const account of history.accounts()) {
        if (account.scope === "tenant" || key?.limits.budget_share !== null) {
          expect(remaining(account)).toBeGreaterThanOrEqual(0);
        }
      }
    });
  });

  test("and what fits is not refused", () => {
    always(changingHistories, (history, action) => {
      if (action.do !== "reserve" || history.last === null || history.last.ok) return;
      const { refusal } = history.last;
      if (refusal.kind !== "budget_spent" && refusal.kind !== "budget_held") return;
      const soft = history.policy.budgets.some(({ soft_limits }) => soft_limits.length > 0);
      if (action.fixed && soft) return; // a named exit may be too deep, though it would fit
      const { account } = refusal;
      const smallest = (action.fixed ? action.bounds[0] : action.bounds.at(-1)) ?? 0;
      const { period, scope } = account;
      const key = history.lastKeyId;
      const start = periodStart(period, history.state.clock);
      const held = [...history.state.holds.values()].filter(
        ({ keyId, takenAt }) => (scope === "tenant" || keyId === key) && periodStart(period, takenAt) === start,
      );
      expect(account.held).toBe(sum(held.map(({ bound }) => bound)));
      expect(account.spent + account.held + smallest).toBeGreaterThan(account.limit);
      if (refusal.kind === "budget_held") expect(refusal.retryAfterMs).toBeGreaterThan(0);
    });
  });
});

describe("the records", () => {
  test("are what is spent, in every account", () => {
    always(changingHistories, ({ state, policy, usage }) => {
      for (const { period } of policy.budgets) {
        const start = periodStart(period, state.clock);
        const end = periodEnd(period, start) ?? Infinity;
        for (const keyId of [null, ...KEYS.map(({ id }) => id)]) {
          const mine = usage.filter(
            (record) => (keyId === null || record.keyId === keyId) && record.takenAt >= start && record.takenAt < end,
          );
          expect(spentSince(state, period, keyId, start)).toBe(sum(mine.map(({ cost }) => cost)));
        }
      }
    });
  });

  test("no request has two endings, none is charged beyond its hold or below nothing", () => {
    always(changingHistories, ({ endings }) => {
      expect(new Set(endings.map(({ hold }) => hold.id)).size).toBe(endings.length);
      for (const { hold, lines } of endings) {
        expect(costOf(lines)).toBeLessThanOrEqual(hold.bound);
        for (const { cost } of lines) expect(cost).toBeGreaterThanOrEqual(0);
      }
    });
  });

  test("an expired hold is charged the last amount that it had metered", () => {
    always(changingHistories, ({ endings, metered }) => {
      for (const { ending, hold, lines, at } of endings) {
        if (ending !== "expired") continue;
        expect(at).toBeGreaterThanOrEqual(hold.leaseEnds);
        expect(costOf(lines)).toBe(Math.min(metered.get(hold.id) ?? 0, hold.bound));
      }
    });
  });

  test("a crash at any moment changes nothing", () => {
    always(changingHistories, (history) => {
      const { state, policy, now } = history;
      const restored = expire(history.restored(), policy, Math.max(now, state.clock)).state;
      const lived = expire(state, policy, now).state;
      expect(restored.holds).toEqual(lived.holds);
      const recorded = [...lived.begun].filter(({ id }) => history.ids.includes(id)); // what was only read is forgotten
      expect([...restored.begun].toSorted(byId)).toEqual(recorded.toSorted(byId));
      for (const { period } of policy.budgets) {
        const start = periodStart(period, lived.clock);
        for (const keyId of [null, ...KEYS.map(({ id }) => id)]) {
          expect(spentSince(restored, period, keyId, start)).toBe(spentSince(lived, period, keyId, start));
        }
      }
    });
  });
});

test("holds drain to zero, and nothing stays held", () => {
  fc.assert(
    fc.property(policies, changingHistories, (policy, actions) => {
      const history = new History(policy);
      for (const action of actions) history.do(action);
      // After a crash the clock may be behind what the last renewal saw: a lease says itself when it ends.
      const leases = [...history.state.holds.values()].map(({ leaseEnds }) => leaseEnds);
      const latest = Math.max(history.now, history.state.clock, ...leases);
      history.do({ do: "time", ms: latest - history.now + LEASE_MS });
      expect(history.state.holds.size).toBe(0);
      expect(history.state.admitted.size).toBe(0);
      expect(history.endings).toHaveLength(history.ids.length);
      expect(heldSince(history.state, "none", null, 0)).toBe(0);
    }),
    RUNS,
  );
});

test("settling, releasing or renewing what has ended does nothing", () => {
  always(changingHistories, (history, action) => {
    if (action.do !== "settle" && action.do !== "release" && action.do !== "renew") return;
    const { state } = history;
    const records = history.usage.length;
    if (state.holds.has(history.ids[action.pick % Math.max(history.ids.length, 1)] ?? "")) return;
    history.do(action);
    expect(history.state).toEqual(state);
    expect(history.usage).toHaveLength(records);
  });
});

describe("rates", () => {
  /** Reservations that still count: those that were released never happened. */
  const counted = ({ granted, endings }: History) => {
    const void_ = new Set(endings.filter(({ lines }) => lines.length === 0).map(({ hold }) => hold.id));
    return granted.filter(({ id }) => !void_.has(id));
  };

  test("no 60 seconds have more requests than the tenant or the key may begin", () => {
    always(changingHistories, (history) => {
      if (!history.placed) return;
      const { clock, holds, admitted } = history.state;
      const minute = [...history.counted.values()].filter(({ at }) => at > clock - RATE_WINDOW_MS);
      expect(minute.length).toBeLessThanOrEqual(history.policy.rates.requests_per_minute ?? Infinity);
      if ([...history.counted.values()].at(-1)?.keyId === "slow") {
        expect(minute.filter(({ keyId }) => keyId === "slow").length).toBeLessThanOrEqual(2);
      }
      expect(holds.size + admitted.size).toBeLessThanOrEqual(history.policy.rates.concurrent_requests ?? Infinity);
    });
  });

  test("no 60 seconds have more tokens, running requests counted with their bound", () => {
    always(changingHistories, (history) => {
      if (history.last?.ok !== true) return;
      const { clock, holds } = history.state;
      const tokens = counted(history)
        .filter(({ at }) => at > clock - RATE_WINDOW_MS)
        .map(({ id, tokens: bound }) => {
          if (holds.has(id)) return bound;
          const lines = history.usage.filter((record) => record.id === id);
          return sum(lines.map(({ promptTokens, completionTokens }) => promptTokens + completionTokens));
        });
      expect(sum(tokens)).toBeLessThanOrEqual(history.policy.rates.tokens_per_minute ?? Infinity);
    });
  });

  test("a refusal says when to come back, and then there is room", () => {
    always(histories, (history, action) => {
      if (action.do !== "reserve" || action.admission !== null || history.last === null || history.last.ok) return;
      const { refusal } = history.last;
      if (refusal.kind !== "requests_per_minute" && refusal.kind !== "tokens_per_minute") return;
      if (refusal.retryAfterMs === null) return;
      expect(refusal.retryAfterMs).toBeGreaterThan(0);
      expect(refusal.retryAfterMs).toBeLessThanOrEqual(RATE_WINDOW_MS);
      history.now = history.state.clock + refusal.retryAfterMs;
      history.do(action);
      const again = history.last as History["last"];
      if (again?.ok === false) expect(again.refusal.kind).not.toBe(refusal.kind);
    });
  });
});

function byId(a: { readonly id: string }, b: { readonly id: string }): number {
  return a.id < b.id ? -1 : 1;
}
