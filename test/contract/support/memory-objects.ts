/** The tenants' own objects without a runtime: each over a database in memory, as the platform would give it. */
import { DatabaseSync, type SQLInputValue } from "node:sqlite";
import { ResponseCache } from "../../../src/cache/response-object.ts";
import type { TenantNamespaces } from "../../../src/tenant/client.ts";
import { TenantDirectory } from "../../../src/tenant/directory-object.ts";
import { TenantLedger } from "../../../src/tenant/tenant-object.ts";

/** What the objects use of their storage. */
function memoryStorage() {
  const database = new DatabaseSync(":memory:");
  const rowsOf = (query: string, bindings: SQLInputValue[]): unknown[] => {
    if (bindings.length > 0 || /^\s*SELECT/i.test(query)) return database.prepare(query).all(...bindings);
    database.exec(query); // may be several statements
    return [];
  };
  return {
    sql: {
      exec(query: string, ...bindings: SQLInputValue[]) {
        const rows = rowsOf(query, bindings);
        return { toArray: () => rows, one: () => rows[0] };
      },
    },
    transactionSync<T>(closure: () => T): T {
      database.exec("BEGIN");
      try {
        const result = closure();
        database.exec("COMMIT");
        return result;
      } catch (error) {
        database.exec("ROLLBACK");
        throw error;
      }
    },
    setAlarm: async () => undefined,
  };
}

type ObjectClass = new (ctx: DurableObjectState, env: never) => object;

function namespace(Class: ObjectClass): DurableObjectNamespace {
  const objects = new Map<string, object>();
  const get = (name: string): object => {
    const object = objects.get(name) ?? new Class({ storage: memoryStorage() } as never, undefined as never);
    objects.set(name, object);
    return object;
  };
  return { idFromName: (name: string) => name, get } as unknown as DurableObjectNamespace;
}

/** Of objects that are called by `fetch`. */
function fetched(Class: new (ctx: DurableObjectState, env: never) => ResponseCache): DurableObjectNamespace {
  const objects = namespace(Class);
  const get = (id: DurableObjectId) => {
    const object = objects.get(id) as unknown as ResponseCache;
    return { fetch: (url: string, init: RequestInit) => object.fetch(new Request(url, init)) };
  };
  return { idFromName: (name: string) => name, get } as unknown as DurableObjectNamespace;
}

/** Fresh namespaces, in which nobody was applied. */
export function memoryNamespaces(): TenantNamespaces & { readonly RESPONSES: DurableObjectNamespace } {
  return {
    TENANT: namespace(TenantLedger),
    DIRECTORY: namespace(TenantDirectory),
    RESPONSES: fetched(ResponseCache),
  };
}
