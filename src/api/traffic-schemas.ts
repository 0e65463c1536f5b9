/** Traffic on the wire: counters of all requests by the hour, and percentiles. */
import { z } from "zod";
import { COUNTED } from "../telemetry/counters.ts";

/** A quarter of a year: what is kept. */
const MAX_HOURS = 92 * 24;
const DEFAULT_HOURS = 24;

export const trafficQueryFields = {
  hours: z.coerce
    .number()
    .int()
    .min(1)
    .max(MAX_HOURS)
    .default(DEFAULT_HOURS)
    .meta({ description: "How far back, whole hours, the current one among them." }),
};

const percentilesSchema = z
  .strictObject({ p50: z.number(), p90: z.number(), p99: z.number() })
  .nullable()
  .meta({ description: "Milliseconds, at most a fifth too high; null: nothing was measured." });

/** `GET /admin/v1/traffic` */
export const trafficSchema = z.strictObject({
  object: z.literal("traffic"),
  from: z.iso.datetime(),
  to: z.iso.datetime(),
  latency: z.strictObject({
    first_token_ms: percentilesSchema,
    per_token_ms: percentilesSchema,
    duration_ms: percentilesSchema,
  }),
  totals: z
    .partialRecord(z.enum(COUNTED), z.record(z.string(), z.int().min(0)))
    .meta({ description: "Counters by name and label, over all hours." }),
  hours: z
    .array(
      z.strictObject({
        start: z.iso.datetime(),
        totals: z.partialRecord(z.enum(COUNTED), z.record(z.string(), z.int().min(0))),
      }),
    )
    .meta({ description: "Those with requests." }),
});
export type TrafficBody = z.infer<typeof trafficSchema>;
