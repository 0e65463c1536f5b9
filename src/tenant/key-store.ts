/** The keys' rows. A secret is never stored, only its SHA-256. */
import { sameDigest } from "../bearer.ts";
import { MAX_KEYS, type KeyLimits } from "./policy.ts";
import type { Sql } from "./tables.ts";

export interface StoredKey {
  readonly id: string;
  /** Hexadecimal. */
  readonly secretSha256: string;
  readonly label: string;
  readonly limits: KeyLimits;
  /** Stands in tenants.toml, which therefore may take it away. */
  readonly declared: boolean;
  /** Milliseconds since 1970, as those below; null: never. */
  readonly createdAt: number;
  readonly expiresAt: number | null;
  readonly revokedAt: number | null;
}

/** A key that tenants.toml declares by its digest. */
export type DeclaredKey = Pick<StoredKey, "secretSha256" | "label" | "limits" | "expiresAt">;

interface KeyRow extends Record<string, SqlStorageValue> {
  id: string;
  secret_sha256: string;
  label: string;
  limits: string;
  declared: number;
  created_at: number;
  expires_at: number | null;
  revoked_at: number | null;
}

/** Every key, oldest first, the revoked ones too. */
export function readKeys(sql: Sql): StoredKey[] {
  return sql
    .exec<KeyRow>("SELECT * FROM keys ORDER BY created_at, id")
    .toArray()
    .map((row) => ({
      id: row.id,
      secretSha256: row.secret_sha256,
      label: row.label,
      limits: JSON.parse(row.limits) as KeyLimits,
      declared: row.declared === 1,
      createdAt: row.created_at,
      expiresAt: row.expires_at,
      revokedAt: row.revoked_at,
    }));
}

/** Adds a key, or replaces the one with its id. */
export function putKey(sql: Sql, key: StoredKey): void {
  sql.exec(
    `INSERT OR REPLACE INTO keys (id, secret_sha256, label, limits, declared, created_at, expires_at, revoked_at)
     VALUES (?, ?, ?, ?, ?, ?, ?, ?)`,
    key.id,
    key.secretSha256,
    key.label,
    JSON.stringify(key.limits),
    key.declared ? 1 : 0,
    key.createdAt,
    key.expiresAt,
    key.revokedAt,
  );
}

export function isValid({ revokedAt, expiresAt }: StoredKey, now: number): boolean {
  return revokedAt === null && (expiresAt === null || expiresAt > now);
}

/** A key as it is once it is revoked; one that was keeps its instant. */
export function revoked(key: StoredKey, now: number): StoredKey {
  return { ...key, revokedAt: key.revokedAt ?? now };
}

/** Whether a key is not stored yet. */
export function isNew({ id }: StoredKey, stored: readonly StoredKey[]): boolean {
  return !stored.some((key) => key.id === id);
}

/** A digest that no secret has: compared with where there is no key, so that every request compares as often. */
const NOBODY = "0".repeat(64);

/** The valid key with a digest; null when there is none. Takes the same time however many keys there are. */
export function findKey(keys: readonly StoredKey[], digest: string, now: number): StoredKey | null {
  const valid = keys.filter((key) => isValid(key, now));
  let found: StoredKey | null = null;
  for (let at = 0; at < MAX_KEYS; at++) {
    const key = valid[at];
    const same = sameDigest(digest, key?.secretSha256 ?? NOBODY);
    if (same && key !== undefined) found = key;
  }
  return found;
}

/** A key's id: names it in lists and records, opens nothing. */
export function newKeyId(): string {
  return `key_${crypto.randomUUID().replaceAll("-", "").slice(0, 16)}`;
}

/**
 * The keys that must be written so that the declared ones are as tenants.toml says: new, changed, or revoked because
 * they stand there no more. Keys made by `key create` are left alone, and a revoked key never comes back.
 */
export function declaredChanges(
  stored: readonly StoredKey[],
  declared: readonly DeclaredKey[],
  now: number,
): StoredKey[] {
  const wanted = declared.map((key): StoredKey => {
    const known = stored.find(({ secretSha256 }) => secretSha256 === key.secretSha256);
    const { id = newKeyId(), createdAt = now, revokedAt = null } = known ?? {};
    return { ...key, id, createdAt, declared: true, revokedAt };
  });
  const ids = new Set(wanted.map(({ id }) => id));
  const dropped = stored
    .filter((key) => key.declared && key.revokedAt === null && !ids.has(key.id))
    .map((key) => revoked(key, now));
  return [...wanted, ...dropped].filter((key) => {
    const before = stored.find(({ id }) => id === key.id);
    return before === undefined || JSON.stringify(sorted(before)) !== JSON.stringify(sorted(key));
  });
}

function sorted(key: StoredKey): [string, unknown][] {
  return Object.entries(key).toSorted(([a], [b]) => (a < b ? -1 : 1));
}
