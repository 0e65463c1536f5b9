/** The Worker's client of the tenants' objects. */
import { ApiError } from "../errors.ts";
import { describeError, log } from "../log.ts";
import {
  DIRECTORY_NAME,
  type AdmitAnswer,
  type AdmitRequest,
  type Caller,
  type DirectoryApi,
  type TenantApi,
} from "./api.ts";
import { parseKey, sha256 } from "./keys.ts";

/**
 * Milliseconds that every refused key takes: more than an object needs to wake up, so that a tenant that does not
 * exist cannot be told from a wrong secret.
 */
const REFUSAL_MS = 100;
/** Seconds after which a client may try again when a tenant's object does not answer: it restarts in less. */
const RETRY_AFTER_SECONDS = 1;

export interface Tenants {
  /** @returns null when the key opens nothing, not sooner than {@link REFUSAL_MS} */
  authenticate(key: string): Promise<Caller | null>;
  /** The same, and the request's place among its tenant's. */
  admit(key: string, request: AdmitRequest): Promise<AdmitAnswer | null>;
  /** @param name of a tenant that exists, or is about to */
  tenant(name: string): TenantApi;
  readonly directory: DirectoryApi;
}

export interface TenantNamespaces {
  readonly TENANT: DurableObjectNamespace;
  readonly DIRECTORY: DurableObjectNamespace;
}

/** Names that the directory has confirmed, for as long as the isolate lives: tenants are closed, never removed. */
const confirmed = new Set<string>();

export function createTenants({ TENANT, DIRECTORY }: TenantNamespaces): Tenants {
  const stub = (namespace: DurableObjectNamespace, name: string): unknown => namespace.get(namespace.idFromName(name));
  const directory = answering(stub(DIRECTORY, DIRECTORY_NAME) as DirectoryApi);
  const tenant = (name: string): TenantApi => answering(stub(TENANT, name) as TenantApi);

  /** Made-up names end here: their objects never wake up. */
  async function exists(name: string): Promise<boolean> {
    if (confirmed.has(name)) return true;
    const found = await directory.has(name);
    if (found) confirmed.add(name);
    return found;
  }

  /** What the key's tenant answers; null, after a while, when the key opens nothing. */
  async function opened<T>(text: string, ask: (api: TenantApi, digest: string) => Promise<T | null>) {
    const started = Date.now();
    const key = parseKey(text);
    const digest = key === null ? "" : await sha256(key.secret);
    const answer = key !== null && (await exists(key.tenant)) ? await ask(tenant(key.tenant), digest) : null;
    if (answer === null) {
      const rest = started + REFUSAL_MS - Date.now();
      await new Promise((resolve) => setTimeout(resolve, Math.max(rest, 0)));
    }
    return answer;
  }

  return {
    authenticate: (key) => opened(key, (api, digest) => api.authenticate(digest)),
    admit: (key, request) => opened(key, (api, digest) => api.admit(digest, request)),
    tenant,
    directory,
  };
}

/** A stub whose failures are 503s: without a ledger nothing is served. */
function answering<T extends object>(stub: T): T {
  return new Proxy(stub, {
    get: (target, method) => {
      return async (...args: unknown[]): Promise<unknown> => {
        try {
          return await (target as Record<PropertyKey, (...args: unknown[]) => Promise<unknown>>)[method]?.(...args);
        } catch (cause) {
          log("tenant.failed", { method: String(method), error: describeError(cause) }, "error");
          throw unavailable(cause);
        }
      };
    },
  });
}

function unavailable(cause: unknown): ApiError {
  return new ApiError("The account service is not available right now. Please try again shortly.", {
    status: 503,
    type: "server_error",
    code: "ledger_unavailable",
    headers: { "retry-after": String(RETRY_AFTER_SECONDS) },
    cause,
  });
}
