/** The admin API on the wire, both ways: the routes and `npm run tenants` share it. Instants are ISO 8601. */
import { z } from "zod";
import { budgetSchema, keyLimitsSchema, policySchema, tenantNameSchema } from "../tenant/policy.ts";

/** Characters: a sentence. */
const MAX_LABEL_CHARS = 128;
/** Seconds: a month, long enough to roll any key over. */
const MAX_OVERLAP_SECONDS = 31 * 86_400;

const labelSchema = z.string().min(1).max(MAX_LABEL_CHARS);
const instantSchema = z.iso.datetime({ offset: true });

export const declaredKeySchema = z.strictObject({
  secret_sha256: z.string().regex(/^[0-9a-f]{64}$/, "must be 64 hexadecimal digits: the SHA-256 of the key's secret"),
  label: labelSchema,
  limits: keyLimitsSchema,
  expires_at: instantSchema.nullable(),
});

/** `PUT /admin/v1/tenants/{name}` */
export const declarationSchema = z.strictObject({ policy: policySchema, keys: z.array(declaredKeySchema) });
export type Declaration = z.infer<typeof declarationSchema>;

/** `POST /admin/v1/tenants/{name}/keys` */
export const newKeySchema = z
  .strictObject({
    label: labelSchema,
    limits: keyLimitsSchema.nullable().default(null),
    expires_at: instantSchema.nullable().default(null),
    /** The id of a key that this one replaces. */
    replaces: z.string().min(1).nullable().default(null),
    /** How long the replaced key stays valid. */
    overlap_seconds: z.int().min(0).max(MAX_OVERLAP_SECONDS).default(0),
  })
  .refine(({ replaces, overlap_seconds }) => replaces !== null || overlap_seconds === 0, {
    path: ["overlap_seconds"],
    error: "'overlap_seconds' is only allowed with 'replaces'",
  });
export type NewKeyBody = z.input<typeof newKeySchema>;

export const appliedSchema = z.strictObject({ name: tenantNameSchema, changed: z.boolean() });
export const closedSchema = z.strictObject({ name: tenantNameSchema, closed: z.boolean() });
export const createdKeySchema = z.strictObject({ id: z.string(), key: z.string() });
export const revokedKeySchema = z.strictObject({ id: z.string(), revoked: z.literal(true) });
export const tenantListSchema = z.strictObject({ data: z.array(z.strictObject({ name: tenantNameSchema })) });

export const budgetViewSchema = z.strictObject({
  name: budgetSchema.shape.name,
  period: budgetSchema.shape.period,
  scope: z.enum(["tenant", "key"]),
  limit_usd: z.string(),
  spent_usd: z.string(),
  held_usd: z.string(),
  resets_at: z.iso.datetime().nullable(),
});

export const keyViewSchema = z.strictObject({
  id: z.string(),
  label: z.string(),
  /** First 8 digits. */
  secret_sha256_prefix: z.string(),
  limits: keyLimitsSchema,
  /** Stands in tenants.toml. */
  declared: z.boolean(),
  created_at: z.iso.datetime(),
  expires_at: z.iso.datetime().nullable(),
  revoked_at: z.iso.datetime().nullable(),
});

/** `GET /admin/v1/tenants/{name}` */
export const tenantSchema = z.strictObject({
  name: tenantNameSchema,
  closed_at: z.iso.datetime().nullable(),
  policy: policySchema,
  keys: z.array(keyViewSchema),
  budgets: z.array(budgetViewSchema),
  running_requests: z.int().min(0),
});
export type TenantBody = z.infer<typeof tenantSchema>;

/** `GET /v1/usage` and `GET /admin/v1/tenants/{name}/usage` */
export const usageBodySchema = z.strictObject({
  object: z.literal("usage"),
  tenant: tenantNameSchema,
  /** First and last day, UTC. */
  from: z.iso.date(),
  to: z.iso.date(),
  total_cost_usd: z.string(),
  budgets: z.array(budgetViewSchema),
  data: z.array(
    z.strictObject({
      day: z.iso.date(),
      exit: z.int().positive(),
      tier: z.enum(["edge", "origin"]),
      requests: z.int().min(0),
      prompt_tokens: z.int().min(0),
      cached_tokens: z.int().min(0),
      completion_tokens: z.int().min(0),
      cost_usd: z.string(),
    }),
  ),
});
export type UsageBody = z.infer<typeof usageBodySchema>;
