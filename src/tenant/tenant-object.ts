/**
 * The Durable Object of one tenant: its policy, keys and ledger. src/tenant/ledger decides on a state in memory; every
 * change is written in the same turn, and an answer leaves only when it is on disk.
 */
import { DurableObject } from "cloudflare:workers";
import { log } from "../log.ts";
import type { MicroUsd } from "../money.ts";
import type {
  AdmitAnswer,
  AdmitRequest,
  ApplyAnswer,
  Caller,
  NewKey,
  NewKeyAnswer,
  ReserveAnswer,
  ReserveRequest,
  TenantApi,
  TenantDeclaration,
  TenantView,
  UsageView,
} from "./api.ts";
import { declaredChanges, findKey, isNew, isValid, newKeyId, putKey, readKeys, revoked } from "./key-store.ts";
import { newSecret, sha256 } from "./keys.ts";
import { admit, leave } from "./ledger/admission.ts";
import { costOf, renew, settle } from "./ledger/finish.ts";
import { reserve } from "./ledger/reserve.ts";
import { usageByDay, wasCharged } from "./ledger-store.ts";
import { MAX_KEYS, NO_KEY_LIMITS } from "./policy.ts";
import type { UsageLine } from "./pricing.ts";
import { migrate } from "./tables.ts";
import { TenantMemory } from "./tenant-memory.ts";
import { readTenant, writeTenant } from "./tenant-store.ts";

export class TenantLedger extends DurableObject implements TenantApi {
  readonly #memory: TenantMemory;

  constructor(ctx: DurableObjectState, env: never) {
    super(ctx, env);
    this.#memory = new TenantMemory(ctx.storage);
  }

  async authenticate(digest: string): Promise<Caller | null> {
    const { tenant } = this.#memory;
    const open = tenant?.row.closedAt === null ? tenant : null;
    const key = findKey(open?.keys ?? [], digest, Date.now());
    if (open === null || key === null) return null;
    const { budgets: _, rates: __, ...policy } = open.row.policy;
    const { name, cacheEpoch } = open.row;
    return { tenant: name, keyId: key.id, limits: key.limits, policy, cacheEpoch };
  }

  async admit(digest: string, { id, leaseMs }: AdmitRequest): Promise<AdmitAnswer | null> {
    const caller = await this.authenticate(digest);
    const key = caller === null ? null : this.#memory.usableKey(caller.keyId);
    if (caller === null || key === null) return null;
    const { row, ledger } = this.#memory.opened;
    const result = admit(ledger, row.policy, { id, key }, leaseMs, Date.now());
    this.#memory.keep(result, null);
    return result.ok ? { ok: true, caller } : { ok: false, refusal: result.refusal, rates: result.rates };
  }

  async leave(id: string, counts: boolean): Promise<void> {
    if (this.#memory.tenant === null) return;
    const { row, ledger } = this.#memory.opened;
    this.#memory.keep(leave(ledger, row.policy, id, counts, Date.now()), null);
  }

  async reserve({ keyId, leaseMs, ...request }: ReserveRequest): Promise<ReserveAnswer> {
    const key = this.#memory.usableKey(keyId);
    if (key === null) return { ok: false, refusal: { kind: "key_invalid" }, rates: null };
    const { row, ledger } = this.#memory.opened;
    if (wasCharged(this.#sql, request.id)) throw new Error("a reservation's id was used before");
    const result = reserve(ledger, row.policy, { ...request, key }, leaseMs, Date.now());
    this.#memory.keep(result, request.id);
    if (!result.ok) return { ok: false, refusal: result.refusal, rates: result.rates };
    const { offer, lowered, rates } = result.grant;
    return { ok: true, offer, lowered, rates };
  }

  async renew(id: string, metered: readonly UsageLine[], leaseMs: number): Promise<boolean> {
    const { row, ledger } = this.#memory.opened;
    const keyId = ledger.holds.get(id)?.keyId;
    const usable = keyId !== undefined && this.#memory.usableKey(keyId) !== null;
    const result = renew(ledger, row.policy, id, metered, usable ? leaseMs : 0, Date.now());
    this.#memory.keep(result, id);
    return usable && result.leaseEnds !== null;
  }

  async settle(id: string, lines: readonly UsageLine[]): Promise<boolean> {
    const { row, ledger } = this.#memory.opened;
    const bound = ledger.holds.get(id)?.bound ?? Infinity;
    if (costOf(lines) > bound) log("ledger.capped", { hold: id, bound, cost: costOf(lines) }, "error");
    const result = settle(ledger, row.policy, id, lines, Date.now());
    this.#memory.keep(result, id);
    return result.settled;
  }

  async usage(from: number, to: number): Promise<UsageView | null> {
    if (this.#memory.tenant === null) return null;
    this.#memory.expireDue();
    return { rows: usageByDay(this.#sql, from, to), budgets: this.#memory.budgets };
  }

  async apply(name: string, { policy, keys: declared }: TenantDeclaration): Promise<ApplyAnswer> {
    this.#memory.expireDue();
    const now = Date.now();
    const answer = this.ctx.storage.transactionSync((): ApplyAnswer => {
      migrate(this.#sql);
      const before = readTenant(this.#sql);
      const closed = before !== null && before.closedAt !== null;
      const keys = closed ? readKeys(this.#sql).map((key) => revoked(key, now)) : readKeys(this.#sql);
      const changes = declaredChanges(keys, declared, now);
      if (changes.some((key) => isNew(key, keys) && !isValid(key, now))) return { ok: false, reason: "key_expired" };
      const revokedKeys = keys
        .filter(
          (key) => key.revokedAt !== null && declared.some(({ secretSha256 }) => secretSha256 === key.secretSha256),
        )
        .map(({ label }) => label);
      const same = before?.closedAt === null && JSON.stringify(before.policy) === JSON.stringify(policy);
      if (same && changes.length === 0) return { ok: true, changed: false, revokedKeys };
      const after = [...keys.filter(({ id }) => !changes.some((key) => key.id === id)), ...changes];
      if (after.filter((key) => isValid(key, now)).length > MAX_KEYS) return { ok: false, reason: "too_many_keys" };
      writeTenant(this.#sql, { name, policy, appliedAt: now, closedAt: null, cacheEpoch: before?.cacheEpoch ?? 0 });
      if (closed) for (const key of keys) putKey(this.#sql, key);
      for (const key of changes) putKey(this.#sql, key);
      return { ok: true, changed: true, revokedKeys };
    });
    if (answer.ok && answer.changed) this.#memory.load();
    return answer;
  }

  async setLimit(budget: string, limit: MicroUsd): Promise<boolean> {
    const row = this.#memory.tenant?.row;
    if (row === undefined || !row.policy.budgets.some(({ name }) => name === budget)) return false;
    this.#memory.expireDue();
    const budgets = row.policy.budgets.map((each) =>
      each.name === budget ? { ...each, limit_micro_usd: limit } : each,
    );
    writeTenant(this.#sql, { ...row, policy: { ...row.policy, budgets }, appliedAt: Date.now() });
    this.#memory.load();
    return true;
  }

  async close(): Promise<boolean> {
    const { tenant } = this.#memory;
    if (tenant?.row.closedAt !== null) return false;
    const now = Date.now();
    this.ctx.storage.transactionSync(() => {
      writeTenant(this.#sql, { ...tenant.row, closedAt: now });
      for (const key of tenant.keys) putKey(this.#sql, revoked(key, now));
    });
    this.#memory.load();
    return true;
  }

  async purgeCache(): Promise<number | null> {
    const { tenant } = this.#memory;
    if (tenant === null) return null;
    const cacheEpoch = tenant.row.cacheEpoch + 1;
    writeTenant(this.#sql, { ...tenant.row, cacheEpoch });
    this.#memory.load();
    return cacheEpoch;
  }

  async describe(): Promise<TenantView | null> {
    if (this.#memory.tenant === null) return null;
    this.#memory.expireDue();
    const { row, keys, ledger } = this.#memory.opened;
    const views = keys.map(({ secretSha256, ...key }) => ({ ...key, digestPrefix: secretSha256.slice(0, 8) }));
    const { name, policy, closedAt } = row;
    return { name, policy, closedAt, keys: views, budgets: this.#memory.budgets, holds: ledger.holds.size };
  }

  async createKey({ label, limits, expiresAt, replaces }: NewKey): Promise<NewKeyAnswer> {
    if (this.#memory.tenant === null) return { ok: false, reason: "no_tenant" };
    if (expiresAt !== null && expiresAt <= Date.now()) return { ok: false, reason: "key_expired" };
    const secret = newSecret();
    const secretSha256 = await sha256(secret);
    const old = replaces === null ? null : this.#memory.usableKey(replaces.id);
    if (replaces !== null && old === null) return { ok: false, reason: "no_such_key" };
    if (this.#memory.validKeys.length >= MAX_KEYS) return { ok: false, reason: "too_many_keys" };
    const [id, now] = [newKeyId(), Date.now()];
    const own = limits ?? old?.limits ?? NO_KEY_LIMITS;
    this.ctx.storage.transactionSync(() => {
      const made = { id, secretSha256, label, limits: own, declared: false, createdAt: now };
      putKey(this.#sql, { ...made, expiresAt, revokedAt: null });
      if (old === null || replaces === null) return;
      const ends = now + replaces.overlapMs;
      putKey(this.#sql, { ...old, expiresAt: Math.min(old.expiresAt ?? ends, ends) });
    });
    this.#memory.load();
    return { ok: true, id, secret };
  }

  async revokeKey(id: string): Promise<boolean> {
    const key = this.#memory.tenant?.keys.find((each) => each.id === id);
    if (key === undefined || key.revokedAt !== null) return false;
    putKey(this.#sql, { ...key, revokedAt: Date.now() });
    this.#memory.load();
    return true;
  }

  /** Leases that are over. */
  override async alarm(): Promise<void> {
    this.#memory.alarm();
  }

  get #sql(): SqlStorage {
    return this.ctx.storage.sql;
  }
}
