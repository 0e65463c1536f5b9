/** `tenants.toml`: the schema of what people write, and the declarations that the admin API takes. */
import { existsSync, readFileSync } from "node:fs";
import { parse } from "smol-toml";
import { z } from "zod";
import { MICRO_PER_USD, parseUsd } from "../../src/money.ts";
import { narrowingFields, type Narrowing } from "../../src/narrowing.ts";
import { declaredKeySchema, type Declaration } from "../../src/api/admin-schemas.ts";
import {
  budgetSchema,
  keyLimitsSchema,
  MAX_LIMIT_MICRO_USD,
  MAX_PRICE,
  policySchema,
  type PriceList,
  ratesSchema,
  tenantNameSchema,
} from "../../src/tenant/policy.ts";
import { DEFAULT_PRICES } from "../../src/tenant/pricing.ts";
import { impossibleDate } from "./dates.ts";

/** A sum that is a whole number of micro-dollars. @param most in dollars */
const dollars = (most: number) =>
  z
    .number()
    .min(0)
    .max(most, `must be at most $${most.toLocaleString("en")}`)
    .refine((value) => value > most || parseUsd(value) !== null, "must not be finer than a millionth of a dollar");

const price = dollars(MAX_PRICE / MICRO_PER_USD);
const priceFileSchema = z
  .strictObject({ input: price, cached_input: price, output: price })
  .describe("Dollars per million tokens.");

const pricesFileSchema = priceFileSchema
  .partial()
  .extend({
    exits: z
      .record(z.string().regex(/^[1-9][0-9]{0,2}$/), priceFileSchema)
      .optional()
      .describe("Prices of single exits, by layer; without them an exit costs in proportion to its layers."),
  })
  .extend({
    hit_percent: z
      .int()
      .min(0)
      .max(100)
      .optional()
      .describe("What of the price of its tokens an answer from the response cache costs; default 10."),
  })
  .describe("Dollars per million tokens at the deepest exit.");

const { exits, budget_share: budgetShare, requests_per_minute: keyRequests } = keyLimitsSchema.shape;

/** Tenant, key and request may each narrow the exit choice; the narrowest wins. */
const narrowingFile = {
  quality: narrowingFields.quality
    .unwrap()
    .unwrap()
    .optional()
    .describe("Least share of the deepest exit's quality to keep."),
  min_exit: narrowingFields.min_exit.unwrap().unwrap().optional().describe("No exit shallower than this answers."),
  max_exit: narrowingFields.max_exit.unwrap().unwrap().optional().describe("No exit deeper than this answers."),
};

const keyFileSchema = z
  .strictObject({
    label: declaredKeySchema.shape.label.describe("Who or what uses it."),
    secret_sha256: declaredKeySchema.shape.secret_sha256.describe(
      "SHA-256 of what follows the last hyphen of the key.",
    ),
    expires_at: declaredKeySchema.shape.expires_at.unwrap().optional().describe("ISO 8601, or a TOML date-time."),
    exits: exits.unwrap().optional().describe("The only exits that it may use."),
    ...narrowingFile,
    budget_share: budgetShare.unwrap().optional().describe("The share of every budget that it may use."),
    requests_per_minute: keyRequests.unwrap().optional(),
  })
  .describe("A key whose secret you have made. `key create` makes others.");

const budgetFileSchema = z.strictObject({
  name: budgetSchema.shape.name.optional().describe("Default: the period."),
  period: budgetSchema.shape.period.describe("UTC; weeks begin on Monday; none never resets."),
  limit_usd: dollars(MAX_LIMIT_MICRO_USD / MICRO_PER_USD).describe("Hard limit: what does not fit is refused."),
  soft_limits: budgetSchema.shape.soft_limits
    .optional()
    .describe("From such a share of the limit on, spent or held, no request runs deeper than max_exit."),
});

function namesDiffer(budgets: readonly z.infer<typeof budgetFileSchema>[]): boolean {
  return new Set(budgets.map(({ name, period }) => name ?? period)).size === budgets.length;
}

const ratesFileSchema = z.strictObject({
  requests_per_minute: ratesSchema.shape.requests_per_minute.unwrap().optional(),
  tokens_per_minute: ratesSchema.shape.tokens_per_minute.unwrap().optional(),
  concurrent_requests: ratesSchema.shape.concurrent_requests.unwrap().optional(),
});

const tenantFileSchema = z.strictObject({
  name: tenantNameSchema.describe("Part of every key: sk-sortie-<name>-<secret>."),
  exits: exits.unwrap().optional().describe("The only exits that may answer; default: all."),
  ...narrowingFile,
  prices: pricesFileSchema.optional(),
  rates: ratesFileSchema.optional(),
  budgets: z
    .array(budgetFileSchema)
    .refine(namesDiffer, "have one name twice; a budget without a name is called by its period")
    .optional(),
  keys: z.array(keyFileSchema).optional(),
});

export const tenantsFileSchema = z
  .strictObject({
    prices: pricesFileSchema.optional(),
    tenants: z
      .array(tenantFileSchema)
      .refine((tenants) => new Set(tenants.map(({ name }) => name)).size === tenants.length, "names must differ"),
  })
  .meta({ title: "tenants.toml of Sortie" });
type TenantsFile = z.infer<typeof tenantsFileSchema>;
type PricesFile = z.infer<typeof pricesFileSchema>;

/** What tenants.toml declares, by tenant. */
export type Declarations = ReadonlyMap<string, Declaration>;

/** @throws Error that says what to do */
export function readTenantsFile(path: string): Declarations {
  if (!existsSync(path)) {
    throw new Error(`There is no ${path}. Copy tenants.example.toml and change it, or name a file with --file.`);
  }
  return parseTenantsFile(readFileSync(path, "utf8"), path);
}

/** @throws Error naming the line, or tenants and fields at fault */
export function parseTenantsFile(text: string, path: string): Declarations {
  const value = plain(parseToml(text, path));
  const date = impossibleDate(text);
  if (date !== null) throw new Error(`${path}: the date ${date} does not exist.`);
  const parsed = tenantsFileSchema.safeParse(value);
  if (!parsed.success) throw new Error(parsed.error.issues.map((issue) => faultLine(path, value, issue)).join("\n"));
  return new Map(parsed.data.tenants.map((tenant) => [tenant.name, declaration(tenant, parsed.data.prices)]));
}

/** `tenants.toml: tenant acme: budgets[0].limit_usd must be at most $1,000,000,000` */
function faultLine(file: string, value: unknown, { path, message }: z.core.$ZodIssue): string {
  const [list, index] = path;
  const tenants = (value as { tenants?: unknown } | null)?.tenants;
  const tenant: unknown =
    list === "tenants" && typeof index === "number" && Array.isArray(tenants) ? tenants[index] : null;
  if (tenant === null) return [file, fieldOf(path), message].filter((part) => part !== "").join(": ");
  const name = (tenant as { name?: unknown } | undefined)?.name;
  const who = typeof name === "string" ? `tenant ${name}` : `tenant ${String(Number(index) + 1)}`;
  return [file, who, fieldOf(path.slice(2)), message].filter((part) => part !== "").join(": ");
}

/** `budgets[0].limit_usd` */
export function fieldOf(path: readonly PropertyKey[]): string {
  return path.reduce<string>((text, step) => {
    if (typeof step === "number") return `${text}[${step}]`;
    return text === "" ? String(step) : `${text}.${String(step)}`;
  }, "");
}

function parseToml(text: string, path: string): unknown {
  try {
    return parse(text);
  } catch (cause) {
    throw new Error(`${path} is not TOML: ${cause instanceof Error ? cause.message : String(cause)}`, { cause });
  }
}

/** TOML's dates as ISO 8601. */
function plain(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value)) as unknown;
}

function declaration(tenant: TenantsFile["tenants"][number], shared: PricesFile | undefined): Declaration {
  const budgets = (tenant.budgets ?? []).map(({ name, period, limit_usd, soft_limits }) => ({
    name: name ?? period,
    period,
    limit_micro_usd: parseUsd(limit_usd) ?? 0,
    soft_limits: soft_limits ?? [],
  }));
  const rates = {
    requests_per_minute: tenant.rates?.requests_per_minute ?? null,
    tokens_per_minute: tenant.rates?.tokens_per_minute ?? null,
    concurrent_requests: tenant.rates?.concurrent_requests ?? null,
  };
  const prices = priceList(priceList(DEFAULT_PRICES, shared), tenant.prices);
  const keys = (tenant.keys ?? []).map((key) => ({
    label: key.label,
    secret_sha256: key.secret_sha256,
    expires_at: key.expires_at === undefined ? null : new Date(key.expires_at).toISOString(),
    limits: {
      exits: key.exits ?? null,
      ...narrowing(key),
      budget_share: key.budget_share ?? null,
      requests_per_minute: key.requests_per_minute ?? null,
    },
  }));
  return {
    policy: policySchema.parse({ budgets, rates, exits: tenant.exits ?? null, ...narrowing(tenant), prices }),
    keys,
  };
}

/** What the file narrows, and no more. */
function narrowing({ quality, min_exit, max_exit }: Narrowing): Narrowing {
  return {
    ...(quality !== undefined && { quality }),
    ...(min_exit !== undefined && { min_exit }),
    ...(max_exit !== undefined && { max_exit }),
  };
}

/** Prices with what a table of the file says instead. */
function priceList(base: PriceList, file: PricesFile | undefined): PriceList {
  if (file === undefined) return base;
  const { exits: own = {}, hit_percent = base.hit_percent, ...full } = file;
  const micro = (price: Partial<Record<string, number>>) =>
    Object.fromEntries(Object.entries(price).map(([name, usd = 0]) => [name, parseUsd(usd) ?? 0]));
  const single = Object.fromEntries(Object.entries(own).map(([exit, price]) => [exit, micro(price)]));
  return policySchema.shape.prices.parse({
    full_depth: { ...base.full_depth, ...micro(full) },
    exits: { ...base.exits, ...single },
    hit_percent,
  });
}
