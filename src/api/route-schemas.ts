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

const driftShares = z.array(
  z.strictObject({
    name: z.string(),
    observed: probability,
    expected: probability,
    deviation: z.number().meta({ description: "In standard errors; beyond ±3 it is hardly chance." }),
  }),
);

/** `GET /admin/v1/route/drift` */
export const driftSchema = z.strictObject({
  object: z.literal("route.drift"),
  from: z.iso.datetime(),
  to: z.iso.datetime(),
  fingerprint: z.string(),
  data: z
    .array(
      z.strictObject({
        range: z.string().meta({ description: "Shallowest and deepest exit that could answer, e.g. `3-12`." }),
        quality: probability.meta({ description: "The target in force." }),
        answers: z.int().min(0),
        gates: driftShares.meta({ description: "By the gate that decided last." }),
        exits: driftShares.meta({ description: "By the exit that ended the answer." }),
      }),
    )
    .meta({ description: "Answers whose exit the gates chose, beside the calibration's held-out prompts." }),
});
export type DriftBody = z.infer<typeof driftSchema>;

export const explanationSchema = z.strictObject({
  exit: layer,
  tier: z.enum(["edge", "origin"]),
  reason: z.string().meta({ description: "As `x-sortie-route` would begin." }),
  exits: z.array(layer).meta({ description: "Those that request and tenant allow." }),
  edge_exits: z.array(layer),
  edge: z.enum(["ready", "full", "unavailable"]),
  origin: z.enum(["ready", "absent", "down"]),
  target: z
    .strictObject({ range: z.string(), quality: probability, thresholds, expected })
    .nullable()
    .meta({ description: "The target in force; null without calibration, or where there is nothing to choose." }),
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
          .meta({ description: "What moves the score most: words, pairs, counts. `role|` marks earlier turns." }),
      }),
    )
    .meta({ description: "Gate 1's; empty without calibration." }),
});
export type ExplanationBody = z.infer<typeof explanationSchema>;
