/** The Worker as wrangler builds it, in workerd without wrangler's proxy, with its storage in a folder that outlives it. */
import { join } from "node:path";
import { Miniflare } from "miniflare";
import { builtModules } from "../../../scripts/built-modules.ts";
import { adminClient, type AdminClient } from "../../../scripts/tenants/admin-client.ts";
import { shardName } from "../../../src/edge/client.ts";
import { STATUS_PATH } from "../../../src/edge/exit-protocol.ts";
import { parseUsd } from "../../../src/money.ts";
import type { TenantApi } from "../../../src/tenant/api.ts";

const ROOT = join(import.meta.dirname, "..", "..", "..");
const ADMIN_TOKEN = "a-token-for-tests-only";
const NAME = "gateway";
/** Milliseconds that settling may take on a busy machine. */
const DRAIN_MS = 20_000;

type Modules = Record<string, { type: "esm" | "wasm"; contents: string | Uint8Array<ArrayBuffer> }>;

export interface GatewayOptions {
  /** Folder of the objects' storage. */
  readonly state: string;
  /** Of an origin; empty: the edge answers alone. */
  readonly originUrl: string;
  readonly leaseSeconds?: number;
  /** More of wrangler.toml's variables. */
  readonly variables?: Readonly<Record<string, string>>;
  /** Of the origin. */
  readonly originSecret?: string;
  /** Folder of the static assets; by default the whole bundle. */
  readonly assets?: string;
}

export interface Gateway {
  readonly url: string;
  readonly admin: AdminClient;
  /** The deployment's counters so far, by name and label. */
  traffic(): Promise<Record<string, Record<string, number>>>;
  /** Shards' objects: what each has decoded. */
  decodedByShard(shards: number): Promise<number[]>;
  /** A tenant's object, as the Worker calls it. */
  tenant(name: string): Promise<TenantApi>;
  /** A shard of the edge's exits, as the Worker calls it. */
  shard(name: string): Promise<DurableObjectStub>;
  /** The bucket bound as MODEL. */
  model(): Promise<R2Bucket>;
  /** Kills the runtime: nothing is said goodbye to. */
  kill(): Promise<void>;
}

/** The Worker's modules, built once a test file. */
export async function buildGateway(): Promise<Modules> {
  const built = await builtModules(join(ROOT, "wrangler.toml"));
  return Object.fromEntries(built.map(({ path, ...module }) => [path, module]));
}

export async function startGateway(modules: Modules, options: GatewayOptions): Promise<Gateway> {
  const object = (exportName: string) => ({ type: "durable-object" as const, worker: NAME, exportName });
  const text = (value: string) => ({ type: "json" as const, value });
  const exported = { type: "durable-object" as const, storage: "sqlite" as const };
  const miniflare = new Miniflare({
    host: "127.0.0.1",
    port: 0,
    resourcePersistencePath: options.state,
    handleStructuredLogs: () => undefined, // the Worker's log would bury the test's
    workers: [
      {
        config: {
          name: NAME,
          compatibilityDate: "2026-11-01",
          compatibilityFlags: ["enable_request_signal", "request_signal_passthrough"],
          manifest: { mainModule: "index.js", modules },
          assets: {
            directory: options.assets ?? join(ROOT, "build", "bundle"),
            runWorkerFirst: true,
            hasUserWorker: true,
          },
          exports: {
            EdgeExit: exported,
            TenantLedger: exported,
            TenantDirectory: exported,
            ResponseCache: exported,
            Traffic: exported,
          },
          env: {
            ASSETS: { type: "assets" },
            EDGE_EXIT: object("EdgeExit"),
            TENANT: object("TenantLedger"),
            DIRECTORY: object("TenantDirectory"),
            RESPONSES: object("ResponseCache"),
            TRAFFIC: object("Traffic"),
            BLOCKS: { type: "r2", name: "blocks" },
            MODEL: { type: "r2", name: "model" },
            ADMIN_TOKEN: text(ADMIN_TOKEN),
            EDGE_EXITS: text("3,6"),
            ORIGIN_URL: text(options.originUrl),
            ORIGIN_SECRET: text(options.originSecret ?? "a secret of some length"),
            LEASE_SECONDS: text(String(options.leaseSeconds ?? 60)),
            ...Object.fromEntries(Object.entries(options.variables ?? {}).map(([name, value]) => [name, text(value)])),
          },
        },
      },
    ],
  });
  const url = (await miniflare.ready).origin;
  let served: Promise<{ fingerprint: string }> | null = null;
  const health = () =>
    (served ??= fetch(`${url}/healthz`).then((response) => response.json() as Promise<{ fingerprint: string }>));
  async function shard(name: string): Promise<DurableObjectStub> {
    const namespace = await miniflare.getDurableObjectNamespace("EDGE_EXIT");
    return namespace.get(namespace.idFromName(name)) as unknown as DurableObjectStub;
  }
  return {
    url,
    admin: adminClient(url, ADMIN_TOKEN),
    async tenant(name) {
      const namespace = await miniflare.getDurableObjectNamespace("TENANT");
      return namespace.get(namespace.idFromName(name)) as unknown as TenantApi;
    },
    shard,
    model: async () => (await miniflare.getR2Bucket("MODEL")) as unknown as R2Bucket,
    async traffic() {
      const headers = { authorization: `Bearer ${ADMIN_TOKEN}` };
      const { totals } = (await (await fetch(`${url}/admin/v1/traffic`, { headers })).json()) as { totals: never };
      return totals;
    },
    async decodedByShard(shards) {
      const { fingerprint } = await health();
      const { colo } = await miniflare.getCf();
      const status = async (_: unknown, index: number) => {
        const stub = await shard(shardName(String(colo), fingerprint, index));
        const response = await stub.fetch(`http://shard${STATUS_PATH}`);
        return ((await response.json()) as { decoded_tokens: number }).decoded_tokens;
      };
      return Promise.all(Array.from({ length: shards }, status));
    },
    kill: () => miniflare.dispose(),
  };
}

/** A tenant with one budget that never resets. @returns a key of it */
export async function newTenant(gateway: Gateway, name: string, limitMicroUsd: number): Promise<string> {
  await gateway.admin.apply(name, { policy: flatPolicy(limitMicroUsd), keys: [] });
  return (await gateway.admin.createKey(name, { label: "test" })).key;
}

/** Asks the model. @param url of the endpoint */
export function post(url: string, key: string, body: object, signal: AbortSignal | null = null): Promise<Response> {
  const headers = { authorization: `Bearer ${key}`, "content-type": "application/json" };
  return fetch(url, { method: "POST", headers, body: JSON.stringify(body), signal });
}

/** What a tenant's budget says, in micro-dollars. */
export async function budgetOf(gateway: Gateway, name: string) {
  const budget = (await gateway.admin.show(name))?.budgets[0];
  const micro = (usd: string | undefined) => parseUsd(Number(usd)) ?? NaN;
  return { spent: micro(budget?.spent_usd), held: micro(budget?.held_usd), limit: micro(budget?.limit_usd) };
}

/** What a tenant's usage records add up to. */
export async function recorded(gateway: Gateway, name: string) {
  const { total_cost_usd: total, data } = await gateway.admin.usage(name, {});
  return { cost: parseUsd(Number(total)) ?? NaN, requests: data.reduce((sum, { requests }) => sum + requests, 0) };
}

/** Waits until nothing is held. @throws Error when it takes too long */
export async function drained(gateway: Gateway, name: string) {
  for (const deadline = Date.now() + DRAIN_MS; Date.now() < deadline;) {
    const budget = await budgetOf(gateway, name);
    if (budget.held === 0) return budget;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error("holds were not settled");
}

/** A policy with one budget that never resets. Prices: a token costs a micro-dollar at every exit, in or out. */
export function flatPolicy(limitMicroUsd: number) {
  const price = { input: 1_000_000, cached_input: 1_000_000, output: 1_000_000 };
  return {
    budgets: [{ name: "all", period: "none" as const, limit_micro_usd: limitMicroUsd, soft_limits: [] }],
    rates: { requests_per_minute: null, tokens_per_minute: null, concurrent_requests: null },
    exits: null,
    prices: { full_depth: price, exits: { "3": price, "6": price, "9": price } },
  };
}
