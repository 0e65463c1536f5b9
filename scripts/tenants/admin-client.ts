/** The admin API from outside the Worker. */
import { z } from "zod";
import {
  appliedSchema,
  closedSchema,
  createdKeySchema,
  purgedSchema,
  revokedKeySchema,
  tenantListSchema,
  tenantSchema,
  type Declaration,
  type NewKeyBody,
  type TenantBody,
} from "../../src/api/admin-schemas.ts";
import { usageBodySchema, type UsageBody } from "../../src/api/usage-schemas.ts";

/** An answer that takes longer is none. */
const TIMEOUT_MS = 30_000;

const errorSchema = z.object({ error: z.object({ message: z.string(), code: z.string().nullable() }) });

/** What days of usage to tell: `YYYY-MM-DD`, both included. */
export interface UsageDays {
  readonly from?: string | undefined;
  readonly to?: string | undefined;
}

export type Applied = z.infer<typeof appliedSchema>;

export interface AdminClient {
  /** Exits of the model that is deployed, ascending. */
  exits(): Promise<number[]>;
  list(): Promise<string[]>;
  /** null when it was never applied. */
  show(name: string): Promise<TenantBody | null>;
  apply(name: string, declaration: Declaration): Promise<Applied>;
  close(name: string): Promise<void>;
  /** @returns how many stored answers went */
  purge(name: string): Promise<number>;
  createKey(name: string, key: NewKeyBody): Promise<{ readonly id: string; readonly key: string }>;
  revokeKey(name: string, id: string): Promise<void>;
  usage(name: string, days: UsageDays): Promise<UsageBody>;
  usageCsv(name: string, days: UsageDays): Promise<string>;
}

/** Every method throws an Error that says what to do. */
export function adminClient(url: string, token: string): AdminClient {
  async function send(method: string, path: string, body?: unknown): Promise<Response> {
    const headers = { authorization: `Bearer ${token}`, "content-type": "application/json" };
    const init = { method, headers, signal: AbortSignal.timeout(TIMEOUT_MS) };
    try {
      return await fetch(
        new URL(`/admin/v1${path}`, url),
        body === undefined ? init : { ...init, body: JSON.stringify(body) },
      );
    } catch (cause) {
      return silent(cause);
    }
  }

  function silent(cause: unknown): never {
    throw new Error(`${url} does not answer. Is it running (npm run dev), and is --url right?`, { cause });
  }

  async function answer(response: Response): Promise<Response> {
    if (response.ok) return response;
    const parsed = errorSchema.safeParse(await response.json().catch(() => null));
    const message = parsed.success ? parsed.data.error.message : `it answered ${response.status}`;
    const hint = response.status === 401 ? " Set ADMIN_TOKEN to the deployment's own." : "";
    throw new Error(`${url}: ${message}${hint}`);
  }

  async function ask<T extends z.ZodType>(schema: T, ...request: Parameters<typeof send>): Promise<z.infer<T>> {
    return schema.parse(await (await answer(await send(...request))).json());
  }

  const usagePath = (name: string, days: UsageDays, format: string): string => {
    const asked = Object.entries({ ...days, format }).filter(([, value]) => value !== undefined);
    return `/tenants/${name}/usage?${new URLSearchParams(asked as [string, string][]).toString()}`;
  };

  return {
    async exits() {
      const response = await fetch(new URL("/healthz", url), { signal: AbortSignal.timeout(TIMEOUT_MS) }).catch(silent);
      // Also a deployment that is not serving says what its model is.
      const parsed = z.looseObject({ exits: z.array(z.int()) }).safeParse(await response.json().catch(() => null));
      if (!parsed.success)
        throw new Error(`${url} does not say which exits its model has: GET /healthz answered ${response.status}`);
      return parsed.data.exits;
    },
    list: async () => (await ask(tenantListSchema, "GET", "/tenants")).data.map(({ name }) => name),
    async show(name) {
      const response = await send("GET", `/tenants/${name}`);
      if (response.status === 404) return null;
      return tenantSchema.parse(await (await answer(response)).json());
    },
    apply: (name, declaration) => ask(appliedSchema, "PUT", `/tenants/${name}`, declaration),
    close: async (name) => void (await ask(closedSchema, "DELETE", `/tenants/${name}`)),
    purge: async (name) => (await ask(purgedSchema, "DELETE", `/tenants/${name}/cache`)).answers,
    createKey: (name, key) => ask(createdKeySchema, "POST", `/tenants/${name}/keys`, key),
    revokeKey: async (name, id) => void (await ask(revokedKeySchema, "DELETE", `/tenants/${name}/keys/${id}`)),
    usage: (name, days) => ask(usageBodySchema, "GET", usagePath(name, days, "json")),
    usageCsv: async (name, days) => (await answer(await send("GET", usagePath(name, days, "csv")))).text(),
  };
}
