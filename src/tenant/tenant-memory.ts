/** A tenant in memory, and the writing that keeps its tables equal to it. */
import { log } from "../log.ts";
import { isValid, readKeys, type StoredKey } from "./key-store.ts";
import { accountsOf, type Account } from "./ledger/accounts.ts";
import { costOf, expire } from "./ledger/finish.ts";
import { restore, type LedgerState, type Step } from "./ledger/state.ts";
import { appendFinished, putHold, records } from "./ledger-store.ts";
import { migrate, tablesVersion } from "./tables.ts";
import { readTenant, type TenantRow } from "./tenant-store.ts";

/** What the tables say. */
export interface Loaded {
  readonly row: TenantRow;
  readonly keys: readonly StoredKey[];
  readonly ledger: LedgerState;
}

export class TenantMemory {
  readonly #storage: DurableObjectStorage;
  #tenant: Loaded | null = null;
  /** When the alarm rings; null: it is not set, as far as this instance knows. */
  #alarmAt: number | null = null;

  /** Writes nothing when there are no tables. */
  constructor(storage: DurableObjectStorage) {
    this.#storage = storage;
    if (tablesVersion(storage.sql) === 0) return;
    storage.transactionSync(() => migrate(storage.sql));
    this.load();
  }

  /** null: no tenant of this name was ever applied, and nothing is stored. */
  get tenant(): Loaded | null {
    return this.#tenant;
  }

  /** @throws Error when there is no such tenant */
  get opened(): Loaded {
    if (this.#tenant === null) throw new Error("there is no such tenant");
    return this.#tenant;
  }

  /** Reads everything from the tables: at start, and after policy or keys have changed. */
  load(): void {
    const { sql } = this.#storage;
    const row = readTenant(sql);
    if (row === null) return;
    const before = this.#tenant?.ledger ?? null;
    this.#tenant = { row, keys: readKeys(sql), ledger: restore(row.policy, records(sql), Date.now(), before) };
    this.#setAlarm();
  }

  get validKeys(): readonly StoredKey[] {
    return this.#tenant?.keys.filter((key) => isValid(key, Date.now())) ?? [];
  }

  /** A key of a tenant that is open; null when it may do nothing any more. */
  usableKey(id: string): StoredKey | null {
    if (this.#tenant?.row.closedAt !== null) return null;
    return this.validKeys.find((key) => key.id === id) ?? null;
  }

  /** The tenant's budgets as they stand. */
  get budgets(): readonly Account[] {
    const { row, ledger } = this.opened;
    return accountsOf(ledger, row.policy, null);
  }

  /** Ends the holds whose lease is over. */
  expireDue(): void {
    if (this.#tenant === null) return;
    const { row, ledger } = this.#tenant;
    this.keep(expire(ledger, row.policy, Date.now()), null);
  }

  /** The alarm has rung. */
  alarm(): void {
    this.#alarmAt = null;
    this.expireDue();
  }

  /** Writes what an operation changed, then takes its state over. @param id the hold that it may have put */
  keep({ state, finished }: Step, id: string | null): void {
    const tenant = this.opened;
    const { sql } = this.#storage;
    const hold = id === null ? undefined : state.holds.get(id);
    const put = hold !== undefined && hold !== tenant.ledger.holds.get(hold.id);
    if (put || finished.length > 0) {
      this.#storage.transactionSync(() => {
        for (const end of finished) appendFinished(sql, end);
        if (put) putHold(sql, hold);
      });
    }
    for (const { ending, hold: gone, lines } of finished) {
      if (ending === "expired") log("ledger.expired", { request_id: gone.requestId, cost_micro_usd: costOf(lines) });
    }
    this.#tenant = { ...tenant, ledger: state };
    this.#setAlarm();
  }

  /** One alarm, no later than the first lease ends. It may ring in vain: moving it for each hold would cost a write. */
  #setAlarm(): void {
    const ends = [...(this.#tenant?.ledger.holds.values() ?? [])].map(({ leaseEnds }) => leaseEnds);
    const first = Math.min(...ends);
    if (first === Infinity || (this.#alarmAt !== null && this.#alarmAt <= first)) return;
    this.#alarmAt = first;
    void this.#storage.setAlarm(first);
  }
}
