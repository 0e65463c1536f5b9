/** Budgets and usage on the wire. Money is dollars in text, exact to a millionth; days are UTC. */
import { z } from "zod";
import { budgetSchema, tenantNameSchema } from "../tenant/policy.ts";

export const budgetViewSchema = z.strictObject({
  name: budgetSchema.shape.name,
  period: budgetSchema.shape.period,
  scope: z.enum(["tenant", "key"]),
  limit_usd: z.string(),
  spent_usd: z.string(),
  held_usd: z.string(),
  resets_at: z.iso.datetime().nullable(),
});

/** The query of a usage report. */
export const usageQueryFields = {
  from: z.iso.date().optional().meta({ description: "First day, UTC; a month before the last when left out." }),
  to: z.iso.date().optional().meta({ description: "Last day, UTC, which is told, too; today when left out." }),
  format: z.enum(["json", "csv"]).optional().meta({ description: "What `accept` says when left out." }),
};

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
