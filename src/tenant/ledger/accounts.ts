/** A tenant's budgets as they stand: what is spent, held and left, and how deep the soft limits let requests go. Pure. */
import type { MicroUsd } from "../../money.ts";
import { periodEnd, periodStart, type Period } from "../period.ts";
import type { Budget, KeyLimits, Policy } from "../policy.ts";
import { heldSince, spentSince, type LedgerState } from "./state.ts";

/** The key that asks, and what it may. */
export interface Asking {
  readonly id: string;
  readonly limits: KeyLimits;
}

/** One budget in its current period: the tenant's, or a key's share of it. */
export interface Account {
  readonly budget: string;
  readonly period: Period;
  /** `key`: the share of the key that asks. */
  readonly scope: "tenant" | "key";
  readonly limit: MicroUsd;
  readonly spent: MicroUsd;
  readonly held: MicroUsd;
  /** Milliseconds since 1970; null: it never does. */
  readonly resetsAt: number | null;
}

/** Every account that a request must fit. @param key null: the tenant's alone */
export function accountsOf(state: LedgerState, policy: Policy, key: Asking | null): Account[] {
  return policy.budgets.flatMap((budget) => {
    const tenant = account(state, budget, null, budget.limit_micro_usd);
    const share = key?.limits.budget_share ?? null;
    if (key === null || share === null) return [tenant];
    return [tenant, account(state, budget, key.id, Math.floor(budget.limit_micro_usd * share))];
  });
}

function account(state: LedgerState, budget: Budget, keyId: string | null, limit: MicroUsd): Account {
  const { name, period } = budget;
  const start = periodStart(period, state.clock);
  return {
    budget: name,
    period,
    scope: keyId === null ? "tenant" : "key",
    limit,
    spent: spentSince(state, period, keyId, start),
    held: heldSince(state, period, keyId, start),
    resetsAt: periodEnd(period, start),
  };
}

/** Negative after a limit was lowered below what was granted before. */
export function remaining({ limit, spent, held }: Account): MicroUsd {
  return limit - spent - held;
}

/** The tightest soft limit that is reached. */
export interface DepthLimit {
  readonly maxExit: number;
  readonly account: Account;
  /** It is reached only while running requests hold what they hold. */
  readonly passing: boolean;
}

/** How deep requests may go now; null: as deep as there is. */
export function depthLimit(policy: Policy, accounts: readonly Account[]): DepthLimit | null {
  let tightest: DepthLimit | null = null;
  for (const account of accounts) {
    const { soft_limits: steps } = policy.budgets.find(({ name }) => name === account.budget) ?? { soft_limits: [] };
    for (const { share, max_exit: maxExit } of steps) {
      const reached = account.spent + account.held >= share * account.limit;
      const passing = account.spent < share * account.limit;
      if (reached && (tightest === null || maxExit < tightest.maxExit)) tightest = { maxExit, account, passing };
    }
  }
  return tightest;
}
