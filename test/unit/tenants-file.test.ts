import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { z } from "zod";
import { parseTenantsFile, readTenantsFile, tenantsFileSchema } from "../../scripts/tenants/file.ts";
import { changeOf, describePlan } from "../../scripts/tenants/plan.ts";
import type { TenantBody } from "../../src/api/admin-schemas.ts";
import { sha256 } from "../../src/tenant/keys.ts";
import { DEFAULT_PRICES } from "../../src/tenant/pricing.ts";

const DIGEST = "ab".repeat(32);
const FILE = `
[prices]
output = 0.5
[prices.exits.3]
input = 0.01
cached_input = 0.005
output = 0.02

[[tenants]]
name = "acme"
exits = [3, 6]
[tenants.prices]
input = 1
[tenants.rates]
requests_per_minute = 60
[[tenants.budgets]]
period = "day"
limit_usd = 1.5
soft_limits = [{ share = 0.8, max_exit = 3 }]
[[tenants.keys]]
label = "web"
secret_sha256 = "${DIGEST}"
expires_at = 2027-01-01T00:00:00Z
budget_share = 0.5

[[tenants]]
name = "plain"
`;

describe("tenants.toml", () => {
  test("becomes declarations in micro-dollars", () => {
    const file = parseTenantsFile(FILE, "tenants.toml");
    expect([...file.keys()]).toEqual(["acme", "plain"]);
    expect(file.get("acme")).toEqual({
      policy: {
        budgets: [
          { name: "day", period: "day", limit_micro_usd: 1_500_000, soft_limits: [{ share: 0.8, max_exit: 3 }] },
        ],
        rates: { requests_per_minute: 60, tokens_per_minute: null, concurrent_requests: null },
        exits: [3, 6],
        prices: {
          full_depth: { input: 1_000_000, cached_input: 50_000, output: 500_000 },
          exits: { "3": { input: 10_000, cached_input: 5_000, output: 20_000 } },
        },
      },
      keys: [
        {
          label: "web",
          secret_sha256: DIGEST,
          expires_at: "2027-01-01T00:00:00.000Z",
          limits: { exits: null, budget_share: 0.5, requests_per_minute: null },
        },
      ],
    });
    expect(file.get("plain")?.policy).toMatchObject({
      budgets: [],
      exits: null,
      prices: { full_depth: { ...DEFAULT_PRICES.full_depth, output: 500_000 } },
    });
  });

  test.each([
    ["no TOML", "= 1", /t\.toml is not TOML/],
    ["a name that cannot stand in a key", '[[tenants]]\nname = "-acme"', /name/],
    ["one name twice", '[[tenants]]\nname = "a"\n[[tenants]]\nname = "a"', /names must differ/],
    ["an unknown setting", '[[tenants]]\nname = "a"\nlimit = 3', /limit/],
    [
      "money too fine",
      '[[tenants]]\nname = "a"\n[[tenants.budgets]]\nperiod = "day"\nlimit_usd = 0.0000001',
      /limit_usd/,
    ],
    ["an unknown period", '[[tenants]]\nname = "a"\n[[tenants.budgets]]\nperiod = "year"\nlimit_usd = 1', /period/],
    [
      "two budgets of one name",
      `[[tenants]]\nname = "a"${'\n[[tenants.budgets]]\nperiod = "day"\nlimit_usd = 1'.repeat(2)}`,
      /names must differ/,
    ],
  ])("%s is refused with what is wrong", (_, text, complaint) => {
    expect(() => parseTenantsFile(text, "t.toml")).toThrow(complaint);
  });

  test("a file that is not there: what to do", () => {
    expect(() => readTenantsFile("no-such-file.toml")).toThrow(/Copy tenants\.example\.toml/);
  });

  test("the example declares the demo key", async () => {
    const demo = readTenantsFile("tenants.example.toml").get("demo");
    expect(demo?.keys[0]?.secret_sha256).toBe(await sha256("local"));
    expect(demo?.policy.budgets.length).toBeGreaterThan(0);
  });

  test("the README's file is one", () => {
    const text = /<<'TOML'\n([\s\S]*?)\nTOML$/m.exec(readFileSync("README.md", "utf8"))?.[1] ?? "";
    expect(parseTenantsFile(text, "README.md").get("acme")?.policy.budgets).toHaveLength(1);
  });

  test("the published schema is that of the code: npm run -s tenants -- schema > docs/tenants.schema.json", () => {
    const published: unknown = JSON.parse(readFileSync("docs/tenants.schema.json", "utf8"));
    expect(published).toEqual(JSON.parse(JSON.stringify(z.toJSONSchema(tenantsFileSchema, { io: "input" }))));
  });
});

describe("the plan", () => {
  const declared = parseTenantsFile(FILE, "tenants.toml").get("acme")!;
  const deployed: TenantBody = {
    name: "acme",
    closed_at: null,
    policy: declared.policy,
    keys: [
      {
        id: "key_1",
        label: "web",
        secret_sha256_prefix: DIGEST.slice(0, 8),
        limits: declared.keys[0]!.limits,
        declared: true,
        created_at: "2026-01-01T00:00:00.000Z",
        expires_at: "2027-01-01T00:00:00.000Z",
        revoked_at: null,
      },
    ],
    budgets: [],
    running_requests: 0,
  };

  test("nothing to change where all is as declared", () => {
    const change = changeOf("acme", declared, deployed);
    expect(change).toEqual({ name: "acme", kind: "none", lines: [] });
    expect(describePlan([change])).toBe("  acme\nNothing to change.");
  });

  test("what differs, by name", () => {
    const policy = {
      ...deployed.policy,
      exits: null,
      budgets: [{ ...deployed.policy.budgets[0]!, limit_micro_usd: 7 }],
    };
    expect(changeOf("acme", declared, { ...deployed, policy, keys: [] }).lines).toEqual([
      "~ budgets.day.limit_micro_usd: 7 → 1500000",
      "+ exits.0: 3",
      "+ exits.1: 6",
      '+ keys.abababab.expires_at: "2027-01-01T00:00:00.000Z"',
      '+ keys.abababab.label: "web"',
      "+ keys.abababab.limits.budget_share: 0.5",
    ]);
  });

  test("a tenant that is new, or closed", () => {
    expect(changeOf("acme", declared, null).kind).toBe("create");
    expect(changeOf("acme", declared, { ...deployed, closed_at: "2026-01-01T00:00:00.000Z" }).kind).toBe("reopen");
  });
});
