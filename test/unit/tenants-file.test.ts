import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { z } from "zod";
import { parseTenantsFile, readTenantsFile, tenantsFileSchema } from "../../scripts/tenants/file.ts";
import { applyPlan, changeOf, describePlan, faultsOf, plan } from "../../scripts/tenants/plan.ts";
import { printable } from "../../scripts/tenants/printable.ts";
import type { AdminClient } from "../../scripts/tenants/admin-client.ts";
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
      /t\.toml: tenant a: budgets: have one name twice/,
    ],
    [
      "a limit that is too large",
      '[[tenants]]\nname = "a"\n[[tenants.budgets]]\nperiod = "day"\nlimit_usd = 1e12',
      /t\.toml: tenant a: budgets\[0\]\.limit_usd: must be at most \$1,000,000,000$/,
    ],
    ...["expires_at = 2027-02-30T00:00:00Z", 'expires_at = "2027-02-30T00:00:00Z"', "expires_at = 2027-13-01"].map(
      (line): [string, string, RegExp] => [
        `the date of ${line}`,
        `[[tenants]]\nname = "a" # 2027-02-31\n[[tenants.keys]]\nlabel = "b 2027-02-31"\nsecret_sha256 = "${DIGEST}"\n${line}`,
        /2027-02-30 does not exist|expires_at|not TOML/,
      ],
    ),
    ...["a\\u0007b", "a\\u202eb", "a\\u200bb", "a\\u0085b"].map((label): [string, string, RegExp] => [
      `the label ${label}`,
      `[[tenants]]\nname = "a"\n[[tenants.keys]]\nlabel = "${label}"\nsecret_sha256 = "${DIGEST}"`,
      /t\.toml: tenant a: keys\[0\]\.label: must not have control characters/,
    ]),
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

describe("what the deployment would refuse", () => {
  const EXITS = [3, 6, 9, 12];
  const NOW = Date.UTC(2026, 10, 30);
  const faults = (lines: string) => {
    const declared = parseTenantsFile(`[[tenants]]\nname = "acme"\n${lines}`, "t.toml").get("acme")!;
    return faultsOf(declared, null, EXITS, NOW);
  };
  const key = (more: string) => `[[tenants.keys]]\nlabel = "web"\nsecret_sha256 = "${DIGEST}"\n${more}`;
  const day = (more: string) => `[[tenants.budgets]]\nperiod = "day"\nlimit_usd = 1\n${more}`;

  test.each([
    ["exits = [4]", "exits[0]: exit 4 does not exist; the model's exits are 3, 6, 9, 12"],
    ["max_exit = 1", "max_exit: exit 1 does not exist; the model's exits are 3, 6, 9, 12"],
    ["max_exit = 7", "max_exit: exit 7 does not exist; the model's exits are 3, 6, 9, 12"],
    ["min_exit = 9\nmax_exit = 6", "min_exit: is deeper than max_exit (6), so no exit is left"],
    ["exits = [3]\nmin_exit = 6", "exits: leave no exit between min_exit and max_exit"],
    [
      day("soft_limits = [{ share = 0.5, max_exit = 4 }]"),
      /^budgets\[0\]\.soft_limits\[0\]\.max_exit: exit 4 does not/,
    ],
    ["[tenants.prices.exits.4]\ninput = 1\ncached_input = 1\noutput = 1", /^prices\.exits\.4: exit 4 does not exist/],
    [key("max_exit = 5"), /^keys\[0\]\.max_exit: exit 5 does not exist/],
    [`exits = [3]\n${key("exits = [6]")}`, /^keys\[0\]: the key and its tenant have no exit in common/],
    [key("expires_at = 2026-01-01T00:00:00Z"), /^keys\[0\]\.expires_at: it is past/],
  ])("%s", (lines, fault) => {
    expect(faults(lines)).toEqual([typeof fault === "string" ? fault : expect.stringMatching(fault)]);
  });

  test("nothing of what can be served", () => {
    expect(faults(`exits = [3, 12]\nmin_exit = 3\n${day("soft_limits = [{ share = 0.5, max_exit = 3 }]")}`)).toEqual(
      [],
    );
  });

  test("a known key may expire and stay in the file", () => {
    const declared = parseTenantsFile(FILE, "t.toml").get("acme")!;
    const keys = [{ secret_sha256_prefix: DIGEST.slice(0, 8) }];
    expect(faultsOf(declared, { keys } as TenantBody, EXITS, Date.UTC(2028, 0))).toEqual([]);
  });

  test("a terminal is shown no control characters", () => {
    expect(printable("a\u001b[31m\nb\u202e\ud800")).toBe("a\\u{1b}[31m\nb\\u{202e}\\u{d800}");
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

  test("closings come first, loudest, and only when they are asked for", async () => {
    const closed: string[] = [];
    const client = {
      exits: async () => [3, 6, 9, 12],
      list: async () => ["acme", "gone"],
      show: async (name: string) => ({ ...deployed, name }),
      apply: async (name: string) => ({ name, changed: false, revoked_keys: ["web"] }),
      close: async (name: string) => void closed.push(name),
    } as unknown as AdminClient;
    const declarations = new Map([["acme", declared]]);
    const changes = await plan(client, declarations, "t.toml");
    expect(describePlan(changes)).toMatch(/^CLOSES gone: not in the file\.\n\n- gone \(close\)/);
    expect(await applyPlan(client, declarations, changes, false)).toEqual([
      "Not closed: gone. Close what is not in the file with --close-missing.",
      expect.stringContaining('acme: the keys "web" were revoked and stay so'),
    ]);
    expect(closed).toEqual([]);
    await applyPlan(client, declarations, changes, true);
    expect(closed).toEqual(["gone"]);
  });
});
