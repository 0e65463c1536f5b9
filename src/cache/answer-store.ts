/** Stored answers of one tenant, in its object's SQLite: bounded by bytes, each for a time (docs/storage.md). */
import { MAX_STORED_BYTES } from "./response-protocol.ts";

export class AnswerStore {
  readonly #storage: DurableObjectStorage;

  constructor(storage: DurableObjectStorage) {
    this.#storage = storage;
    storage.sql.exec(
      `CREATE TABLE IF NOT EXISTS answers (
        key TEXT PRIMARY KEY,
        lines TEXT NOT NULL,
        stored_at INTEGER NOT NULL,
        expires_at INTEGER NOT NULL
      ) WITHOUT ROWID`,
    );
  }

  /** null: there is none, or it is too old. */
  find(key: string, now: number): string | null {
    const found = this.#storage.sql
      .exec<{ lines: string }>("SELECT lines FROM answers WHERE key = ? AND expires_at > ?", key, now)
      .toArray();
    return found[0]?.lines ?? null;
  }

  put(key: string, lines: string, now: number, ttlMs: number): void {
    const { sql } = this.#storage;
    this.#storage.transactionSync(() => {
      sql.exec("INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?)", key, lines, now, now + ttlMs);
      for (let over = this.#bytes() - MAX_STORED_BYTES; over > 0; over = this.#bytes() - MAX_STORED_BYTES) {
        sql.exec("DELETE FROM answers WHERE key = (SELECT key FROM answers ORDER BY stored_at LIMIT 1)");
      }
    });
    const { answers } = sql.exec<{ answers: number }>("SELECT COUNT(*) AS answers FROM answers").one();
    if (answers === 1) void this.#storage.setAlarm(now + ttlMs); // otherwise it is set
  }

  /** Deletes what is too old; rings again when the rest will be. */
  expire(now: number): void {
    const { sql } = this.#storage;
    sql.exec("DELETE FROM answers WHERE expires_at <= ?", now);
    const { next } = sql.exec<{ next: number | null }>("SELECT MAX(expires_at) AS next FROM answers").one();
    if (next !== null) void this.#storage.setAlarm(next);
  }

  /** Deletes everything. @returns how many answers */
  clear(): number {
    const { sql } = this.#storage;
    const { answers } = sql.exec<{ answers: number }>("SELECT COUNT(*) AS answers FROM answers").one();
    sql.exec("DELETE FROM answers");
    return answers;
  }

  #bytes(): number {
    return this.#storage.sql.exec<{ bytes: number }>("SELECT TOTAL(LENGTH(lines)) AS bytes FROM answers").one().bytes;
  }
}
