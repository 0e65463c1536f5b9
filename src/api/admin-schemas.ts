/** The admin API on the wire, both ways: the routes and `npm run tenants` share it. Instants are ISO 8601. */
import { z } from "zod";
import { budgetSchema, keyLimitsSchema, MAX_KEYS, policySchema, tenantNameSchema } from "../tenant/policy.ts";
import { budgetViewSchema } from "./usage-schemas.ts";

/** Characters: a sentence. */
const MAX_LABEL_CHARS = 128;
/** Seconds: a month, long enough to roll any key over. */
const MAX_OVERLAP_SECONDS = 31 * 86_400;

/** Controls, invisible characters, line breaks and halves of surrogate pairs: a terminal or a log would obey them. */
const INVISIBLE = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/u;

const labelSchema = z
  .string()
  .min(1)
  .max(MAX_LABEL_CHARS)
  .refine((label) => !INVISIBLE.test(label), "must not have control characters or invisible ones");
const instantSchema = z.iso.datetime({ offset: true });

export const declaredKeySchema = z.strictObject({
  secret_sha256: z.string().regex(/^[0-9a-f]{64}$/, "must be 64 hexadecimal digits: the SHA-256 of the key's secret"),
  label: labelSchema,
  limits: keyLimitsSchema,
  expires_at: instantSchema.nullable(),
});

/** `PUT /admin/v1/tenants/{name}` */
export const declarationSchema = z.strictObject({
  policy: policySchema,
  keys: z.array(declaredKeySchema).max(MAX_KEYS),
});
export type Declaration = z.infer<typeof declarationSchema>;

/** `POST /admin/v1/tenants/{name}/keys` */
export const newKeySchema = z
  .strictObject({
    label: labelSchema,
    limits: keyLimitsSchema.nullable().default(null),
    expires_at: instantSchema.nullable().default(null),
    replaces: z
      .string()
      .min(1)
      .nullable()
      .default(null)
      .meta({ description: "The id of a key that this one replaces." }),
    overlap_seconds: z
      .int()
      .min(0)
      .max(MAX_OVERLAP_SECONDS)
      .default(0)
      .meta({ description: "How long the replaced key stays valid." }),
  })
  .refine(({ replaces, overlap_seconds }) => replaces !== null || overlap_seconds === 0, {
    path: ["overlap_seconds"],
    error: "'overlap_seconds' is only allowed with 'replaces'",
  });
export type NewKeyBody = z.input<typeof newKeySchema>;

/** `PUT /admin/v1/tenants/{name}/budgets/{budget}` */
export const newLimitSchema = z.strictObject({
  limit_micro_usd: budgetSchema.shape.limit_micro_usd.meta({ description: "Millionths of a dollar." }),
});

export const appliedSchema = z.strictObject({
  name: tenantNameSchema,
  changed: z.boolean(),
  revoked_keys: z.array(z.string()).meta({ description: "Labels of declared keys that were revoked, and stay so." }),
});
export const limitSetSchema = z.strictObject({ budget: z.string(), limit_usd: z.string() });
export const closedSchema = z.strictObject({ name: tenantNameSchema, closed: z.boolean() });
export const purgedSchema = z.strictObject({
  name: tenantNameSchema,
  epoch: z.int().min(1).meta({ description: "Counts the purges." }),
  answers: z.int().min(0).meta({ description: "Stored answers that were deleted." }),
  objects: z.int().min(0).meta({ description: "Objects of blocks in R2 that were deleted." }),
});
export const createdKeySchema = z.strictObject({ id: z.string(), key: z.string() });
export const revokedKeySchema = z.strictObject({ id: z.string(), revoked: z.literal(true) });
export const tenantListSchema = z.strictObject({ data: z.array(z.strictObject({ name: tenantNameSchema })) });

export const keyViewSchema = z.strictObject({
  id: z.string(),
  label: z.string(),
  secret_sha256_prefix: z.string().meta({ description: "First 8 digits." }),
  limits: keyLimitsSchema,
  declared: z.boolean().meta({ description: "Stands in tenants.toml." }),
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
