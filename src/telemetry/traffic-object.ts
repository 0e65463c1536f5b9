/** The Durable Object that keeps the deployment's counters by the hour. It decides nothing and knows no tenant's text. */
import { DurableObject } from "cloudflare:workers";
import type { Count, Counted } from "./counters.ts";

/** The one object's name in its namespace. */
export const TRAFFIC_NAME = "traffic";
const HOUR_MS = 3_600_000;
/** Hours kept: a quarter of a year, after which Analytics Engine knows more. */
const KEPT_HOURS = 92 * 24;

/** Counters of one hour. */
export interface TrafficHour {
  /** Milliseconds since 1970. */
  readonly start: number;
  readonly counts: readonly Count[];
}

export interface TrafficApi {
  /** Adds to the current hour. */
  add(counts: readonly Count[]): Promise<void>;
  /** Hours that begin in `[from, to)`, milliseconds since 1970; those without requests are left out. */
  read(from: number, to: number): Promise<TrafficHour[]>;
}

export class Traffic extends DurableObject implements TrafficApi {
  constructor(ctx: DurableObjectState, env: never) {
    super(ctx, env);
    ctx.storage.sql.exec(
      "CREATE TABLE IF NOT EXISTS traffic (hour INTEGER, name TEXT, label TEXT, count INTEGER, PRIMARY KEY (hour, name, label))",
    );
  }

  async add(counts: readonly Count[]): Promise<void> {
    const { sql } = this.ctx.storage;
    const hour = Math.floor(Date.now() / HOUR_MS);
    for (const { name, label, count } of counts) {
      sql.exec(
        "INSERT INTO traffic VALUES (?, ?, ?, ?) ON CONFLICT (hour, name, label) DO UPDATE SET count = count + excluded.count",
        hour,
        name,
        label,
        count,
      );
    }
    sql.exec("DELETE FROM traffic WHERE hour < ?", hour - KEPT_HOURS);
  }

  async read(from: number, to: number): Promise<TrafficHour[]> {
    const rows = this.ctx.storage.sql.exec<{ hour: number; name: Counted; label: string; count: number }>(
      "SELECT * FROM traffic WHERE hour >= ? AND hour < ? ORDER BY hour, name, label",
      Math.ceil(from / HOUR_MS),
      Math.ceil(to / HOUR_MS),
    );
    const hours = Map.groupBy(rows.toArray(), ({ hour }) => hour);
    return [...hours].map(([hour, found]) => ({
      start: hour * HOUR_MS,
      counts: found.map(({ name, label, count }) => ({ name, label, count })),
    }));
  }
}
