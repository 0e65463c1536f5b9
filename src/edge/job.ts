/** What the Worker asks of a shard, and what the shard's stream says. */
import { z } from "zod";
import { generationRequestSchema, tokenEventSchema } from "../generation.ts";
import type { TokenEvent } from "../generation.ts";
import type { Handoff } from "../handoff.ts";
import { PREFILL_FEATURES } from "../policy/prefill-gate.ts";

export const edgeJobSchema = z.strictObject({
  request: generationRequestSchema,
  /** Gate 2; null when the edge answers whatever it would say. */
  prefill_gate: z
    .strictObject({
      /** Gate 1's probability for the exit. */
      prompt_score: z.number().min(0).max(1),
      weights: z.array(z.number()).length(PREFILL_FEATURES.length),
      bias: z.number(),
      threshold: z.number().min(0).max(1),
      /** The exit at which the origin would resume. */
      escalate_to: z.int().positive(),
    })
    .nullable(),
});
export type EdgeJob = z.infer<typeof edgeJobSchema>;

/** Gate 2's verdict, said once and before any token. */
const verdictSchema = z.strictObject({ type: z.literal("verdict"), handoff: z.boolean(), reason: z.string() });
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
