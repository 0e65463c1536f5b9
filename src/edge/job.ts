/** What the Worker asks of a shard, and what the shard's stream says. */
import { z } from "zod";
import { generationRequestSchema, timingsSchema, tokenEventSchema, usageSchema } from "../generation.ts";
import type { TokenEvent } from "../generation.ts";
import type { Handoff } from "../handoff.ts";
import { thresholdsSchema } from "../policy/targets.ts";

const probability = z.number().min(0).max(1);
const layerSchema = z.int().positive();
const chosenSchema = z.strictObject({ range: z.string(), quality: probability, thresholds: thresholdsSchema });

export const edgeJobSchema = z.strictObject({
  request: generationRequestSchema,
  /** Gates 2 and 3; null when the exit is settled. */
  gates: z
    .strictObject({
      /** Exits to be tried in turn, the request's first, with gate 1's scores. */
      ladder: z.array(z.strictObject({ exit: layerSchema, score: probability })).min(1),
      /** Where gate 2 hands off to beyond the ladder; null: the last of it answers. */
      prefill_to: layerSchema.nullable(),
      /** Where gate 3 escalates to. */
      decode_to: layerSchema,
      target: chosenSchema,
      /** A target whose verdicts are logged and change nothing. */
      shadow: chosenSchema.nullable(),
    })
    .nullable(),
});
export type EdgeJob = z.infer<typeof edgeJobSchema>;

/** What a shard has used of a request. */
const spentSchema = z.strictObject({ usage: usageSchema, timings: timingsSchema });
export type Spent = z.infer<typeof spentSchema>;

/** Gate 2 says once, before any token, which exit answers; gate 3 may say once, later, which one goes on. */
const verdictSchema = z.strictObject({
  type: z.literal("verdict"),
  exit: layerSchema,
  reason: z.string(),
  /** What was used when the rest is another tier's: a handoff follows. null: the shard goes on. */
  handoff: spentSchema.nullable(),
});
export type EdgeVerdict = z.infer<typeof verdictSchema>;
const failureSchema = z.strictObject({ type: z.literal("failure"), message: z.string() });

export const edgeJsonEventSchema = z.union([tokenEventSchema, verdictSchema, failureSchema]);

/** After `handoff` nothing follows. */
export type EdgeEvent =
  | TokenEvent
  | z.infer<typeof verdictSchema>
  | { readonly type: "handoff"; readonly handoff: Handoff };

/** Why a shard did not take a job. */
export const edgeRefusalSchema = z.strictObject({
  reason: z.enum(["edge-full", "edge-unavailable"]),
  message: z.string(),
});
export type EdgeRefusal = z.infer<typeof edgeRefusalSchema>;

/** A shard's own state, for `/healthz`. */
export const edgeStatusSchema = z.strictObject({
  loaded: z.boolean(),
  exits: z.array(z.int().positive()),
  active: z.int().min(0),
  waiting: z.int().min(0),
  /** Tokens whose next-token distribution was computed since the shard started. */
  decoded_tokens: z.int().min(0),
});
export type EdgeStatus = z.infer<typeof edgeStatusSchema>;
