/** What is served, on the wire: models, health, errors. */
import { z } from "zod";

export const modelSchema = z.strictObject({
  id: z.string(),
  object: z.literal("model"),
  created: z.int().meta({ description: "Seconds since 1970." }),
  owned_by: z.string(),
});
export type ModelObject = z.infer<typeof modelSchema>;

export const modelListSchema = z.strictObject({ object: z.literal("list"), data: z.array(modelSchema) });
export type ModelList = z.infer<typeof modelListSchema>;

export const healthSchema = z.strictObject({
  status: z.enum(["ok", "unavailable"]),
  model: z.string(),
  fingerprint: z.string(),
  numerics: z.string(),
  exits: z.array(z.int()),
  edge_exits: z.array(z.int()),
  calibrated: z.boolean(),
  edge: z.union([
    z.strictObject({
      loaded: z.boolean(),
      active: z.int().min(0),
      waiting: z.int().min(0),
      decoded_tokens: z.int().min(0),
    }),
    z.literal("unreachable"),
  ]),
  origin: z
    .enum(["absent", "reachable", "unreachable", "foreign"])
    .meta({ description: "`foreign`: an origin of another checkpoint, whose exits are not ours." }),
});
export type Health = z.infer<typeof healthSchema>;

/** OpenAI's error: all four keys, always. */
export const errorSchema = z.strictObject({
  error: z.strictObject({
    message: z.string(),
    type: z.string(),
    param: z.string().nullable().meta({ description: "The field at fault, e.g. `messages[0].content`." }),
    code: z.string().nullable(),
  }),
});
