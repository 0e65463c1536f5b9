/** The ledger's rows: holds, usage records and their sums by hour. Nothing here decides. */
import { HOUR_MS } from "./period.ts";
import type { Begun } from "./ledger/rate-window.ts";
import type { Finished, Hold, Records } from "./ledger/state.ts";
import type { UsageLine } from "./pricing.ts";
import type { Sql } from "./tables.ts";

/** A tenant's usage on one UTC day at one exit and tier. */
export interface UsageRow {
  /** `2026-11-25` */
  readonly day: string;
  readonly exit: number;
  readonly tier: UsageLine["tier"];
  readonly requests: number;
  readonly promptTokens: number;
  readonly cachedTokens: number;
  readonly completionTokens: number;
  /** Micro-dollars. */
  readonly cost: number;
}

const HOURS_A_DAY = 24;

interface HoldRow extends Record<string, SqlStorageValue> {
  id: string;
  key_id: string;
  request_id: string;
  taken_at: number;
  lease_ends: number;
  bound: number;
  tokens: number;
  metered: string;
}

/** Everything {@link restore} asks. */
export function records(sql: Sql): Records {
  return {
    holds: sql
      .exec<HoldRow>("SELECT * FROM holds")
      .toArray()
      .map((row): Hold => {
        const { id, key_id: keyId, request_id: requestId, taken_at: takenAt, lease_ends: leaseEnds } = row;
        const metered = JSON.parse(row.metered) as UsageLine[];
        return { id, keyId, requestId, takenAt, leaseEnds, bound: row.bound, tokens: row.tokens, metered };
      }),
    begunSince: (from) =>
      sql
        .exec<{ id: string; key_id: string; taken_at: number; tokens: number }>(
          `SELECT id, key_id, taken_at, SUM(prompt_tokens + completion_tokens) AS tokens
           FROM usage WHERE taken_at > ? GROUP BY id`,
          from,
        )
        .toArray()
        .map((row): Begun => ({ id: row.id, keyId: row.key_id, at: row.taken_at, tokens: row.tokens })),
    chargedBetween: (from, to) =>
      sql
        .exec<{ key_id: string; cost: number }>(
          "SELECT key_id, SUM(cost) AS cost FROM usage_hours WHERE hour >= ? AND hour < ? GROUP BY key_id",
          Math.floor(from / HOUR_MS),
          to === null ? Number.MAX_SAFE_INTEGER : Math.floor(to / HOUR_MS),
        )
        .toArray()
        .map((row) => [row.key_id, row.cost] as const),
  };
}

/** Adds a hold, or replaces the one with its id. */
export function putHold(sql: Sql, hold: Hold): void {
  sql.exec(
    `INSERT INTO holds (id, key_id, request_id, taken_at, lease_ends, bound, tokens, metered)
     VALUES (?, ?, ?, ?, ?, ?, ?, ?)
     ON CONFLICT (id) DO UPDATE SET lease_ends = excluded.lease_ends, metered = excluded.metered`,
    hold.id,
    hold.keyId,
    hold.requestId,
    hold.takenAt,
    hold.leaseEnds,
    hold.bound,
    hold.tokens,
    JSON.stringify(hold.metered),
  );
}

/** Whether an id was charged before: no hold may take it again. */
export function wasCharged(sql: Sql, id: string): boolean {
  return sql.exec("SELECT 1 FROM usage WHERE id = ? LIMIT 1", id).toArray().length > 0;
}

/** Takes the hold away, appends its records and adds them to the hour's sums. */
export function appendFinished(sql: Sql, { hold, ending, at, lines }: Finished): void {
  sql.exec("DELETE FROM holds WHERE id = ?", hold.id);
  const hour = Math.floor(hold.takenAt / HOUR_MS);
  lines.forEach((line, index) => {
    const amounts = [line.promptTokens, line.cachedTokens, line.completionTokens, line.cost];
    const request = [hold.requestId, hold.keyId, hold.takenAt, at, ending];
    sql.exec(
      `INSERT INTO usage (id, exit, tier, request_id, key_id, taken_at, ended_at, ending,
                          prompt_tokens, cached_tokens, completion_tokens, cost)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
      hold.id,
      line.exit,
      line.tier,
      ...request,
      ...amounts,
    );
    sql.exec(
      `INSERT INTO usage_hours (hour, key_id, exit, tier, requests,
                                prompt_tokens, cached_tokens, completion_tokens, cost)
       VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
       ON CONFLICT DO UPDATE SET
         requests = requests + excluded.requests,
         prompt_tokens = prompt_tokens + excluded.prompt_tokens,
         cached_tokens = cached_tokens + excluded.cached_tokens,
         completion_tokens = completion_tokens + excluded.completion_tokens,
         cost = cost + excluded.cost`,
      hour,
      hold.keyId,
      line.exit,
      line.tier,
      index === 0 ? 1 : 0,
      ...amounts,
    );
  });
}

/** Usage of the requests that began in `[from, to)`, whole UTC days, oldest first. */
export function usageByDay(sql: Sql, from: number, to: number): UsageRow[] {
  return sql
    .exec<{ day: number; exit: number; tier: string } & Record<string, number | string>>(
      `SELECT hour / ${HOURS_A_DAY} AS day, exit, tier, SUM(requests) AS requests, SUM(prompt_tokens) AS prompt,
              SUM(cached_tokens) AS cached, SUM(completion_tokens) AS completion, SUM(cost) AS cost
       FROM usage_hours WHERE hour >= ? AND hour < ? GROUP BY 1, 2, 3 ORDER BY 1, 2, 3`,
      Math.floor(from / HOUR_MS),
      Math.floor(to / HOUR_MS),
    )
    .toArray()
    .map((row) => ({
      day: new Date(row.day * HOURS_A_DAY * HOUR_MS).toISOString().slice(0, 10),
      exit: row.exit,
      tier: row.tier as UsageLine["tier"],
      requests: Number(row["requests"]),
      promptTokens: Number(row["prompt"]),
      cachedTokens: Number(row["cached"]),
      completionTokens: Number(row["completion"]),
      cost: Number(row["cost"]),
    }));
}
