import { beforeEach, describe, expect, test, vi } from "vitest";
import type { NewKey, TenantApi, TenantDeclaration, TenantView, UsageView } from "../../src/tenant/api.ts";
import { DEFAULT_PRICES } from "../../src/tenant/pricing.ts";
import { ADMIN_TOKEN, ENV, KEY, scriptedApp } from "./api-flow.ts";

const POLICY = {
  budgets: [{ name: "daily", period: "day", limit_micro_usd: 1_000_000, soft_limits: [] }],
  rates: { requests_per_minute: null, tokens_per_minute: null, concurrent_requests: null },
  exits: null,
  prices: DEFAULT_PRICES,
};
const account = {
  budget: "daily",
  period: "day",
  scope: "tenant",
  limit: 1_000_000,
  spent: 5,
  held: 0,
  resetsAt: Date.UTC(2026, 10, 26),
} as const;
const usageView: UsageView = {
  rows: [
    {
      day: "2026-11-25",
      exit: 3,
      tier: "edge",
      requests: 2,
      promptTokens: 20,
      cachedTokens: 4,
      completionTokens: 6,
      cost: 5,
    },
  ],
  budgets: [account],
};

beforeEach(() => void vi.spyOn(console, "info").mockImplementation(() => {}));

/** The app over a tenant `acme`, and what was asked of it. */
function adminApp() {
  const asked: unknown[] = [];
  const acme: Partial<TenantApi> = {
    async apply(name: string, declaration: TenantDeclaration) {
      asked.push([name, declaration]);
      return name === "full" ? { ok: false, reason: "too_many_keys" } : { ok: true, changed: true, revokedKeys: [] };
    },
    async describe(): Promise<TenantView> {
      const key = {
        id: "key_1",
        label: "web",
        limits: { exits: null, budget_share: null, requests_per_minute: null },
        declared: true,
        createdAt: 0,
        expiresAt: null,
        revokedAt: 1_000,
        digestPrefix: "abababab",
      };
      return { name: "acme", policy: POLICY as never, closedAt: null, keys: [key], budgets: [account], holds: 3 };
    },
    async setLimit(budget, limit) {
      asked.push([budget, limit]);
      return budget === "daily";
    },
    close: async () => true,
    async createKey(key: NewKey) {
      asked.push(key);
      return key.replaces?.id === "gone"
        ? { ok: false, reason: "no_such_key" }
        : { ok: true, id: "key_2", secret: "s" };
    },
    revokeKey: async (id) => id === "key_1",
    async usage(from, to) {
      asked.push([from, to]);
      return usageView;
    },
  };
  const names = new Set(["acme"]);
  const { app } = scriptedApp({
    tenants: {
      tenant: () => acme as TenantApi,
      directory: {
        has: async (name) => names.has(name),
        add: async (name) => void names.add(name),
        list: async () => [...names],
      },
    },
  });
  const send = (method: string, path: string, json?: unknown, token = ADMIN_TOKEN, env = ENV) =>
    app.request(
      path,
      {
        method,
        headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
        ...(json === undefined ? {} : { body: JSON.stringify(json) }),
      },
      env,
    );
  return { send, asked };
}

describe("who may administer", () => {
  test.each(["wrong", KEY, ""])("not the bearer of %j", async (token) => {
    const response = await adminApp().send("GET", "/admin/v1/tenants", undefined, token);
    expect(response.status).toBe(401);
    expect(await response.json()).toMatchObject({ error: { code: "invalid_api_key" } });
  });

  test("nobody where no token is set", async () => {
    const env = { ...ENV, ADMIN_TOKEN: "" };
    const response = await adminApp().send("GET", "/admin/v1/tenants", undefined, "", env);
    expect(response.status).toBe(401);
    expect(await response.text()).toContain("The admin API is off");
  });

  test("the token that earlier versions shipped with opens nothing, whatever the Host", async () => {
    const env = { ...ENV, ADMIN_TOKEN: "local-development-only" };
    for (const host of ["http://localhost:8787", "https://sortie.example"]) {
      const response = await adminApp().send("GET", `${host}/admin/v1/tenants`, undefined, env.ADMIN_TOKEN, env);
      expect(response.status).toBe(401);
      expect(await response.text()).toContain("The admin API is off");
    }
  });

  test("an address that is wrong six times has to wait, even with the right token; others do not", async () => {
    const { app } = scriptedApp();
    const ask = (token: string, address: string) => {
      const headers = { authorization: `Bearer ${token}`, "cf-connecting-ip": address };
      return app.request("/admin/v1/nothing", { headers }, ENV);
    };
    for (let attempt = 0; attempt < 5; attempt++) expect((await ask("wrong", "2001:db8:1:2::a")).status).toBe(401);
    const refused = await ask("wrong", "2001:db8:1:2::b"); // the same network
    expect([refused.status, refused.headers.get("retry-after")]).toEqual([429, "1"]);
    expect((await ask(ADMIN_TOKEN, "2001:db8:1:2::c")).status).toBe(429);
    expect((await ask(ADMIN_TOKEN, "2001:db8:1:3::a")).status).toBe(404);
    expect((await ask("wrong", "192.0.2.7")).status).toBe(401);
  });

  test("an admin token is no API key", async () => {
    expect((await adminApp().send("GET", "/v1/usage")).status).toBe(401);
  });
});

describe("a budget's limit", () => {
  test("is set to whole micro-dollars", async () => {
    const { send, asked } = adminApp();
    const set = await send("PUT", "/admin/v1/tenants/acme/budgets/daily", { limit_micro_usd: 2_500_000 });
    expect(await set.json()).toEqual({ budget: "daily", limit_usd: "2.500000" });
    expect(asked).toEqual([["daily", 2_500_000]]);
  });

  test.each([
    ["acme", "none", { limit_micro_usd: 1 }, 404],
    ["nobody", "daily", { limit_micro_usd: 1 }, 404],
    ["acme", "daily", { limit_micro_usd: -1 }, 400],
    ["acme", "daily", { limit_micro_usd: 0.5 }, 400],
    ["acme", "daily", {}, 400],
  ])("%s %s %j: %i", async (name, budget, body, status) => {
    const response = await adminApp().send("PUT", `/admin/v1/tenants/${name}/budgets/${budget}`, body);
    expect(response.status).toBe(status);
  });
});

describe("tenants", () => {
  test("are applied, listed, shown and closed", async () => {
    const { send, asked } = adminApp();
    const key = { secret_sha256: "ab".repeat(32), label: "web", expires_at: "2027-01-01T00:00:00Z" };
    const limits = { exits: null, budget_share: null, requests_per_minute: null };
    const applied = await send("PUT", "/admin/v1/tenants/beta", { policy: POLICY, keys: [{ ...key, limits }] });
    expect(await applied.json()).toEqual({ name: "beta", changed: true, revoked_keys: [] });
    const declared = { secretSha256: key.secret_sha256, label: "web", expiresAt: Date.UTC(2027, 0), limits };
    expect(asked).toEqual([["beta", { policy: POLICY, keys: [declared] }]]);
    const list = await (await send("GET", "/admin/v1/tenants")).json();
    expect(list).toEqual({ data: [{ name: "acme" }, { name: "beta" }] });
    expect(await (await send("GET", "/admin/v1/tenants/acme")).json()).toMatchObject({
      name: "acme",
      closed_at: null,
      keys: [{ id: "key_1", secret_sha256_prefix: "abababab", revoked_at: "1970-01-01T00:00:01.000Z" }],
      budgets: [{ name: "daily", limit_usd: "1.000000", spent_usd: "0.000005" }],
      running_requests: 3,
    });
    expect(await (await send("DELETE", "/admin/v1/tenants/acme")).json()).toEqual({ name: "acme", closed: true });
  });

  test.each([
    ["GET", "/admin/v1/tenants/nobody", undefined],
    ["DELETE", "/admin/v1/tenants/nobody", undefined],
    ["GET", "/admin/v1/tenants/nobody/usage", undefined],
    ["POST", "/admin/v1/tenants/nobody/keys", { label: "a" }],
    ["GET", "/admin/v1/tenants/-bad-", undefined],
    ["PUT", "/admin/v1/tenants/Bad", { policy: POLICY, keys: [] }],
  ])("%s %s: 404", async (method, path, json) => {
    const response = await adminApp().send(method, path, json);
    expect(response.status).toBe(404);
    expect(await response.json()).toMatchObject({ error: { code: "tenant_not_found" } });
  });

  test("cannot have more keys than are compared", async () => {
    const response = await adminApp().send("PUT", "/admin/v1/tenants/full", { policy: POLICY, keys: [] });
    expect(response.status).toBe(400);
    expect(await response.json()).toMatchObject({ error: { code: "too_many_keys" } });
  });

  test.each([
    ["a budget of half a micro-dollar", { ...POLICY, budgets: [{ ...POLICY.budgets[0], limit_micro_usd: 0.5 }] }],
    ["a setting that is none", { ...POLICY, limit: 1 }],
    [
      "a share beyond the whole",
      { ...POLICY, budgets: [{ ...POLICY.budgets[0], soft_limits: [{ share: 2, max_exit: 3 }] }] },
    ],
  ])("%s: 400", async (_, policy) => {
    expect((await adminApp().send("PUT", "/admin/v1/tenants/acme", { policy, keys: [] })).status).toBe(400);
  });
});

describe("keys", () => {
  test("are made, told once, and revoked", async () => {
    const { send, asked } = adminApp();
    const made = await send("POST", "/admin/v1/tenants/acme/keys", {
      label: "next",
      replaces: "key_1",
      overlap_seconds: 60,
    });
    expect(made.status).toBe(201);
    expect(await made.json()).toEqual({ id: "key_2", key: "sk-sortie-acme-s" });
    expect(asked).toEqual([
      { label: "next", limits: null, expiresAt: null, replaces: { id: "key_1", overlapMs: 60_000 } },
    ]);
    expect((await send("DELETE", "/admin/v1/tenants/acme/keys/key_1")).status).toBe(200);
    expect((await send("DELETE", "/admin/v1/tenants/acme/keys/key_9")).status).toBe(404);
  });

  test("cannot replace one that is gone, or overlap with none", async () => {
    const { send } = adminApp();
    const keys = "/admin/v1/tenants/acme/keys";
    expect((await send("POST", keys, { label: "a", replaces: "gone" })).status).toBe(404);
    const response = await send("POST", keys, { label: "a", overlap_seconds: 60 });
    expect(response.status).toBe(400);
    expect(await response.json()).toMatchObject({ error: { param: "overlap_seconds" } });
  });
});

describe("usage", () => {
  const DAY = 86_400_000;

  test("of the last month, unless days are named; JSON and CSV", async () => {
    const { send, asked } = adminApp();
    const body = await (await send("GET", "/v1/usage?from=2026-11-01&to=2026-11-25", undefined, KEY)).json();
    expect(body).toEqual({
      object: "usage",
      tenant: "demo",
      from: "2026-11-01",
      to: "2026-11-25",
      total_cost_usd: "0.000005",
      budgets: [expect.objectContaining({ name: "daily", spent_usd: "0.000005" })],
      data: [
        {
          day: "2026-11-25",
          exit: 3,
          tier: "edge",
          requests: 2,
          prompt_tokens: 20,
          cached_tokens: 4,
          completion_tokens: 6,
          cost_usd: "0.000005",
        },
      ],
    });
    expect(asked[0]).toEqual([Date.UTC(2026, 10, 1), Date.UTC(2026, 10, 26)]);
    const csv = await send("GET", "/admin/v1/tenants/acme/usage?format=csv");
    expect(csv.headers.get("content-type")).toBe("text/csv; charset=utf-8");
    expect((await csv.text()).split("\r\n")).toEqual([
      "day,exit,tier,requests,prompt_tokens,cached_tokens,completion_tokens,cost_usd",
      "2026-11-25,3,edge,2,20,4,6,0.000005",
      "",
    ]);
    const [from, to] = asked[1] as [number, number];
    expect(to - from).toBe(30 * DAY);
  });

  test.each(["from=yesterday", "from=2026-11-02&to=2026-11-01", "format=xml", "tenant=other"])(
    "%s: 400",
    async (query) => {
      expect((await adminApp().send("GET", `/v1/usage?${query}`, undefined, KEY)).status).toBe(400);
    },
  );
});
