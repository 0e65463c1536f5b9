/** The row that makes a tenant: its name and policy. */
import { policySchema, type Policy } from "./policy.ts";
import type { Sql } from "./tables.ts";

export interface TenantRow {
  readonly name: string;
  readonly policy: Policy;
  /** Milliseconds since 1970. */
  readonly appliedAt: number;
  /** null: it is open. */
  readonly closedAt: number | null;
  /** Counts the purges of its caches: what was cached in an earlier epoch is found no more. */
  readonly cacheEpoch: number;
}

/** @throws ZodError when the stored policy is not one: a migration is missing */
export function readTenant(sql: Sql): TenantRow | null {
  const row = sql
    .exec<{ name: string; policy: string; applied_at: number; closed_at: number | null; cache_epoch: number }>(
      "SELECT * FROM tenant",
    )
    .toArray()[0];
  if (row === undefined) return null;
  const policy = policySchema.parse(JSON.parse(row.policy));
  return { name: row.name, policy, appliedAt: row.applied_at, closedAt: row.closed_at, cacheEpoch: row.cache_epoch };
}

export function writeTenant(sql: Sql, { name, policy, appliedAt, closedAt, cacheEpoch }: TenantRow): void {
  sql.exec(
    "INSERT OR REPLACE INTO tenant (only_row, name, policy, applied_at, closed_at, cache_epoch) VALUES (1, ?, ?, ?, ?, ?)",
    name,
    JSON.stringify(policy),
    appliedAt,
    closedAt,
    cacheEpoch,
  );
}
