/** What a tenant may do: budgets, rates, exits and prices. Stored as JSON in the tenant's object and sent by the admin API. */
import { z } from "zod";
import { narrowingFields } from "../narrowing.ts";
import { PERIODS } from "./period.ts";

/** One of each period, and a few with other names. */
const MAX_BUDGETS = 8;
/** A step an exit: the deepest LLaMA with an exit every few layers has fewer. */
const MAX_SOFT_LIMITS = 16;
/** Deepest LLaMA: 126 layers. */
const MAX_LAYER = 256;
/** A billion dollars: sums of many stay exact integers. */
export const MAX_LIMIT_MICRO_USD = 1e15;
/** $1,000 per million tokens: times the longest request (16 choices of 128 Ki tokens), still an exact integer. */
export const MAX_PRICE = 1e9;
/** Valid keys of one tenant: as many comparisons are made for every request. */
export const MAX_KEYS = 64;
/** Per minute: more than one object can take. */
const MAX_RATE = 1e9;

/** A tenant's name: also a part of its keys, whose secret has no hyphen. */
export const TENANT_NAME = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/;
export const tenantNameSchema = z
  .string()
  .regex(TENANT_NAME, "must be 1 to 63 of a-z, 0-9 and '-', with no hyphen at either end");

const layerSchema = z.int().min(1).max(MAX_LAYER);
const exitsSchema = z.array(layerSchema).min(1).max(MAX_LAYER);
const rateSchema = z.int().min(1).max(MAX_RATE);

export const softLimitSchema = z.strictObject({
  /** Share of the hard limit, spent or held, from which on it holds. */
  share: z.number().min(0).max(1),
  /** Then no request runs more layers than this. */
  max_exit: layerSchema,
});

export const budgetSchema = z.strictObject({
  name: z.string().regex(/^[a-z0-9][a-z0-9_-]{0,31}$/, "must be up to 32 of a-z, 0-9, '-' and '_'"),
  period: z.enum(PERIODS),
  /** The hard limit. */
  limit_micro_usd: z.int().min(0).max(MAX_LIMIT_MICRO_USD),
  soft_limits: z.array(softLimitSchema).max(MAX_SOFT_LIMITS),
});
export type Budget = z.infer<typeof budgetSchema>;

/** null: not limited. */
export const ratesSchema = z.strictObject({
  /** Requests begun in any 60 seconds. */
  requests_per_minute: rateSchema.nullable(),
  /** Prompt and completion tokens of the requests begun in any 60 seconds; a running one counts with its upper bound. */
  tokens_per_minute: rateSchema.nullable(),
  /** Requests under way at once. */
  concurrent_requests: rateSchema.nullable(),
});

/** Micro-dollars per million tokens. */
export const priceSchema = z.strictObject({
  input: z.int().min(0).max(MAX_PRICE),
  cached_input: z.int().min(0).max(MAX_PRICE),
  output: z.int().min(0).max(MAX_PRICE),
});
export type Price = z.infer<typeof priceSchema>;

export const priceListSchema = z.strictObject({
  /** At the deepest exit; a shallower one costs in proportion to its layers. */
  full_depth: priceSchema,
  /** By exit layer (decimal): instead of the proportion. */
  exits: z.record(z.string().regex(/^[1-9][0-9]{0,2}$/), priceSchema),
  /** Percent of the price of its tokens that an answer of the response cache costs. */
  hit_percent: z.int().min(0).max(100).optional(),
});
export type PriceList = z.infer<typeof priceListSchema>;

export const policySchema = z.strictObject({
  budgets: z
    .array(budgetSchema)
    .max(MAX_BUDGETS)
    .refine((budgets) => new Set(budgets.map(({ name }) => name)).size === budgets.length, "names must differ"),
  rates: ratesSchema,
  /** The exits that may answer; null: all. */
  exits: exitsSchema.nullable(),
  ...narrowingFields,
  prices: priceListSchema,
});
export type Policy = z.infer<typeof policySchema>;

/** What one key may do, within its tenant's policy. null: nothing of its own. */
export const keyLimitsSchema = z.strictObject({
  exits: exitsSchema.nullable(),
  ...narrowingFields,
  /** Of every budget of the tenant. */
  budget_share: z.number().gt(0).max(1).nullable(),
  requests_per_minute: rateSchema.nullable(),
});
export type KeyLimits = z.infer<typeof keyLimitsSchema>;

export const NO_KEY_LIMITS: KeyLimits = { exits: null, budget_share: null, requests_per_minute: null };

/** The exits of a deployment that both the tenant and the key allow, ascending as given. */
export function allowedExits(exits: readonly number[], policy: Pick<Policy, "exits">, key: KeyLimits): number[] {
  return exits.filter(
    (exit) => (policy.exits?.includes(exit) ?? true) && (key.exits === null || key.exits.includes(exit)),
  );
}
