/** What a tenant's object answers, called by the Worker. Everything here crosses between isolates: plain values. */
import type { MicroUsd } from "../money.ts";
import type { Narrowing } from "../narrowing.ts";
import type { Account } from "./ledger/accounts.ts";
import type { RateRefusal, RateViews } from "./ledger/rates.ts";
import type { Refusal } from "./ledger/reserve.ts";
import type { UsageRow } from "./ledger-store.ts";
import type { DeclaredKey, StoredKey } from "./key-store.ts";
import type { KeyLimits, Policy } from "./policy.ts";
import type { Offer, UsageLine } from "./pricing.ts";

/** Who sends a request, and what it may do. */
export interface Caller {
  readonly tenant: string;
  readonly keyId: string;
  readonly limits: KeyLimits;
  readonly policy: Pick<Policy, "exits" | "prices" | keyof Narrowing>;
  /** Part of every name in a cache: a purge makes it another. */
  readonly cacheEpoch: number;
}

/** A request that asks to be read. */
export interface AdmitRequest {
  /** Made by the Worker, never used twice. */
  readonly id: string;
  /** How long its place is kept should it not be heard of again. */
  readonly leaseMs: number;
}

export type AdmitAnswer =
  | { readonly ok: true; readonly caller: Caller }
  | { readonly ok: false; readonly refusal: RateRefusal; readonly rates: RateViews };

export interface ReserveRequest {
  /** The admission's. */
  readonly id: string;
  readonly requestId: string;
  readonly keyId: string;
  readonly offers: readonly Offer[];
  readonly exitFixed: boolean;
  readonly leaseMs: number;
}

export type ReserveAnswer =
  | {
      readonly ok: true;
      readonly offer: Offer;
      /** A budget's name, or `tokens_per_minute`; null: the best offer was granted. */
      readonly lowered: string | null;
      readonly rates: RateViews;
    }
  | { readonly ok: false; readonly refusal: Refusal; readonly rates: RateViews }
  /** The key was revoked, or has expired, since it was checked. */
  | { readonly ok: false; readonly refusal: { readonly kind: "key_invalid" }; readonly rates: null };

/** A key as operators see it. */
export type KeyView = Omit<StoredKey, "secretSha256"> & {
  /** First digits of the digest: tells declared keys apart. */
  readonly digestPrefix: string;
};

export interface TenantView {
  readonly name: string;
  readonly policy: Policy;
  /** Milliseconds since 1970; null: it is open. */
  readonly closedAt: number | null;
  readonly keys: readonly KeyView[];
  readonly budgets: readonly Account[];
  /** Requests under way. */
  readonly holds: number;
}

/** What tenants.toml says of a tenant. */
export interface TenantDeclaration {
  readonly policy: Policy;
  readonly keys: readonly DeclaredKey[];
}

export interface NewKey {
  readonly label: string;
  /** null: those of the key it replaces, otherwise none. */
  readonly limits: KeyLimits | null;
  /** Milliseconds since 1970. */
  readonly expiresAt: number | null;
  /** The key it replaces, which stays valid so much longer. */
  readonly replaces: { readonly id: string; readonly overlapMs: number } | null;
}

export type NewKeyAnswer =
  | { readonly ok: true; readonly id: string; readonly secret: string }
  | { readonly ok: false; readonly reason: "no_tenant" | "no_such_key" | "too_many_keys" | "key_expired" };

export type ApplyAnswer =
  | {
      readonly ok: true;
      readonly changed: boolean;
      /** Labels of declared keys that were revoked: they stay so. */
      readonly revokedKeys: readonly string[];
    }
  | { readonly ok: false; readonly reason: "too_many_keys" | "key_expired" };

export interface UsageView {
  readonly rows: readonly UsageRow[];
  readonly budgets: readonly Account[];
}

export interface TenantApi {
  /** @param digest SHA-256 of the secret, hexadecimal @returns null when no key fits, or there is no such tenant */
  authenticate(digest: string): Promise<Caller | null>;
  /**
   * {@link authenticate}, and a place among the requests at once: taken over by {@link reserve}, or given back by
   * {@link leave}.
   */
  admit(digest: string, request: AdmitRequest): Promise<AdmitAnswer | null>;
  reserve(request: ReserveRequest): Promise<ReserveAnswer>;
  /** Idempotent. @param counts whether the request still counts to the minute */
  leave(id: string, counts: boolean): Promise<void>;
  /** @returns false when the hold is gone or the key no longer valid: the answer must stop */
  renew(id: string, metered: readonly UsageLine[], leaseMs: number): Promise<boolean>;
  /** Idempotent. @returns false when the hold had ended before */
  settle(id: string, lines: readonly UsageLine[]): Promise<boolean>;
  /** Usage of requests that began in `[from, to)`; null when there is no such tenant. */
  usage(from: number, to: number): Promise<UsageView | null>;
  apply(name: string, declaration: TenantDeclaration): Promise<ApplyAnswer>;
  /** Sets one budget's hard limit. @returns false when there is no such budget */
  setLimit(budget: string, limit: MicroUsd): Promise<boolean>;
  /** Ends every access, and revokes every key for good; records stay. @returns false when it was closed, or never there */
  close(): Promise<boolean>;
  /** What was cached for it until now is found no more. @returns the new epoch; null when there is no such tenant */
  purgeCache(): Promise<number | null>;
  describe(): Promise<TenantView | null>;
  createKey(key: NewKey): Promise<NewKeyAnswer>;
  /** @returns false when there is no such key, or it was revoked before */
  revokeKey(id: string): Promise<boolean>;
}

/** The one directory's name in its namespace. */
export const DIRECTORY_NAME = "directory";

/** The list of tenants there are. */
export interface DirectoryApi {
  has(name: string): Promise<boolean>;
  add(name: string): Promise<void>;
  /** Alphabetical. */
  list(): Promise<string[]>;
}
