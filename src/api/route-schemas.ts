/** The admin API of routing on the wire. */
import { z } from "zod";
import { tenantNameSchema } from "../tenant/policy.ts";
import { messagesField } from "./chat-request.ts";
import { modelField, sortieField } from "./fields.ts";

const probability = z.number().min(0).max(1);
const layer = z.int().positive();

/** `POST /admin/v1/route/explain` */
export const explainSchema = z.strictObject({
  model: modelField,
  messages: messagesField,
  sortie: sortieField,
  tenant: tenantNameSchema.nullish().meta({ description: "Whose policy holds; without it no tenant's does." }),
});

const thresholds = z.strictObject({
  prompt: probability,
  prefill: probability,
  decode: probability,
  alone: probability.meta({ description: "Gate 1's when it decides alone, because the edge cannot take the prompt." }),
});

const expected = z
  .strictObject({
    quality: z
      .strictObject({ lower: z.number(), value: z.number(), upper: z.number() })
      .meta({ description: "Relative to the deepest exit allowed; 95 % interval." }),
    cost: z.number().meta({ description: "Layers · tokens relative to the deepest exit allowed." }),
    gates: z
      .strictObject({ prompt: probability, prefill: probability, decode: probability })
      .meta({ description: "Share of answers by the gate that decided last." }),
    exits: z.record(z.string(), probability).meta({ description: "Share of answers by exit layer." }),
  })
  .meta({ description: "What the calibration measured on held-out prompts." });

export const explanationSchema = z.strictObject({
  exit: layer,
  tier: z.enum(["edge", "origin"]),
  reason: z.string().meta({ description: "As `x-sortie-route` would begin." }),
  exits: z.array(layer).meta({ description: "Those that request and tenant allow." }),
  edge_exits: z.array(layer),
  edge: z.enum(["ready", "full", "unavailable"]),
  origin: z.enum(["ready", "absent", "down"]),
  target: z.strictObject({ quality: probability, thresholds, expected }).nullable(),
  later_gates: z
    .strictObject({
      ladder: z.array(layer).meta({ description: "Exits that the edge tries in turn." }),
      prefill_to: layer.nullable().meta({ description: "Where gate 2 hands off to beyond the ladder." }),
      decode_to: layer.meta({ description: "Where gate 3 escalates to." }),
    })
    .nullable()
    .meta({ description: "What gates 2 and 3 may still change; null: the exit is settled." }),
  scores: z
    .array(
      z.strictObject({
        exit: layer,
        score: probability.meta({ description: "Chance that this exit's answer is as good as the deepest exit's." }),
        features: z
          .array(z.strictObject({ feature: z.string(), logit: z.number() }))
          .meta({ description: "What moves the score most. `~` marks character n-grams, `role|` earlier turns." }),
      }),
    )
    .meta({ description: "Gate 1's; empty without calibration." }),
});
export type ExplanationBody = z.infer<typeof explanationSchema>;
