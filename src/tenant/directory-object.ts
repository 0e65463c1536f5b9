/**
 * The one Durable Object that knows every tenant's name. It keeps made-up names away from tenants' objects, which
 * would otherwise come to life for each of them.
 */
import { DurableObject } from "cloudflare:workers";
import type { DirectoryApi } from "./api.ts";

export class TenantDirectory extends DurableObject implements DirectoryApi {
  /** null: the table is not there, because no tenant was ever applied. */
  #names: Set<string> | null = null;

  constructor(ctx: DurableObjectState, env: never) {
    super(ctx, env);
    const { sql } = ctx.storage;
    const tables = sql.exec("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'tenants'").toArray();
    if (tables.length > 0) {
      this.#names = new Set(
        sql
          .exec<{ name: string }>("SELECT name FROM tenants")
          .toArray()
          .map(({ name }) => name),
      );
    }
  }

  async has(name: string): Promise<boolean> {
    return this.#names?.has(name) ?? false;
  }

  async add(name: string): Promise<void> {
    const { sql } = this.ctx.storage;
    if (this.#names === null) sql.exec("CREATE TABLE tenants (name TEXT PRIMARY KEY)");
    this.#names ??= new Set();
    if (this.#names.has(name)) return;
    sql.exec("INSERT INTO tenants (name) VALUES (?)", name);
    this.#names.add(name);
  }

  async list(): Promise<string[]> {
    return [...(this.#names ?? [])].toSorted();
  }
}
