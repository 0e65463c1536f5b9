/** The tables of a tenant's object, version by version (docs/storage.md). Instants are milliseconds since 1970. */

/** What SQLite offers a Durable Object, as far as it is used here. */
export type Sql = SqlStorage;

/** Each entry brings the tables from the version before it to the next; never change one that was deployed. */
const MIGRATIONS: readonly string[] = [
  `
  CREATE TABLE tenant (
    only_row INTEGER PRIMARY KEY CHECK (only_row = 1),
    name TEXT NOT NULL,
    policy TEXT NOT NULL, -- JSON
    applied_at INTEGER NOT NULL,
    closed_at INTEGER
  );
  CREATE TABLE keys (
    id TEXT PRIMARY KEY,
    secret_sha256 TEXT NOT NULL UNIQUE,
    label TEXT NOT NULL,
    limits TEXT NOT NULL, -- JSON
    declared INTEGER NOT NULL, -- 1: stands in tenants.toml
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    revoked_at INTEGER
  );
  CREATE TABLE holds (
    id TEXT PRIMARY KEY,
    key_id TEXT NOT NULL,
    request_id TEXT NOT NULL,
    taken_at INTEGER NOT NULL,
    lease_ends INTEGER NOT NULL,
    bound INTEGER NOT NULL, -- micro-dollars
    tokens INTEGER NOT NULL,
    metered TEXT NOT NULL -- JSON
  );
  CREATE TABLE usage (
    id TEXT NOT NULL,
    exit INTEGER NOT NULL,
    tier TEXT NOT NULL,
    request_id TEXT NOT NULL,
    key_id TEXT NOT NULL,
    taken_at INTEGER NOT NULL,
    ended_at INTEGER NOT NULL,
    ending TEXT NOT NULL,
    prompt_tokens INTEGER NOT NULL,
    cached_tokens INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL,
    cost INTEGER NOT NULL, -- micro-dollars
    PRIMARY KEY (id, exit, tier)
  );
  CREATE INDEX usage_by_time ON usage (taken_at);
  CREATE TRIGGER usage_never_changes BEFORE UPDATE ON usage BEGIN SELECT RAISE(ABORT, 'usage is append-only'); END;
  CREATE TRIGGER usage_never_goes BEFORE DELETE ON usage BEGIN SELECT RAISE(ABORT, 'usage is append-only'); END;
  CREATE TABLE usage_hours (
    hour INTEGER NOT NULL, -- of taken_at, since 1970
    key_id TEXT NOT NULL,
    exit INTEGER NOT NULL,
    tier TEXT NOT NULL,
    requests INTEGER NOT NULL,
    prompt_tokens INTEGER NOT NULL,
    cached_tokens INTEGER NOT NULL,
    completion_tokens INTEGER NOT NULL,
    cost INTEGER NOT NULL,
    PRIMARY KEY (hour, key_id, exit, tier)
  ) WITHOUT ROWID;
  `,
  `ALTER TABLE tenant ADD COLUMN cache_epoch INTEGER NOT NULL DEFAULT 0;`,
];

/** The version of the tables; 0 when there are none. Reads only. */
export function tablesVersion(sql: Sql): number {
  const found = sql.exec("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'schema_version'").toArray();
  if (found.length === 0) return 0;
  return sql.exec<{ version: number }>("SELECT version FROM schema_version").one().version;
}

/**
 * Brings the tables to the newest version. Run inside a transaction.
 * @throws Error when they are newer than this code
 */
export function migrate(sql: Sql): void {
  const version = tablesVersion(sql);
  if (version > MIGRATIONS.length) {
    throw new Error(`the tables have version ${version}, this code knows ${MIGRATIONS.length}: deploy the newer code`);
  }
  if (version === MIGRATIONS.length) return;
  for (const migration of MIGRATIONS.slice(version)) sql.exec(migration);
  if (version === 0) sql.exec("CREATE TABLE schema_version (version INTEGER NOT NULL)");
  sql.exec("DELETE FROM schema_version");
  sql.exec("INSERT INTO schema_version (version) VALUES (?)", MIGRATIONS.length);
}
