/** router.json: the gates' parameters, written by `npm run calibrate`, bound to one checkpoint. */
import { z } from "zod";
import { PREFILL_FEATURES } from "./prefill-gate.ts";

/** Bumped when an older Worker could not read the file. */
export const ROUTER_FORMAT = "sortie-router/1";

const probability = z.number().min(0).max(1);

export const routerSchema = z.strictObject({
  format: z.literal(ROUTER_FORMAT),
  /** The checkpoint whose answers were labelled. */
  fingerprint: z.string().regex(/^[0-9a-f]{16}$/),
  exits: z.array(z.int().positive()).min(1),
  /** Share of the deepest exit's quality that the thresholds keep on held-out prompts. */
  quality_target: probability,
  prompt: z.strictObject({
    /** Hash buckets, a power of two. */
    buckets: z.int().positive(),
    /** Base64 of int8 `[exits, buckets]`. */
    weights: z.base64(),
    /** Per exit: logit = scale · (int8 weights · features) + bias. */
    scale: z.array(z.number()),
    bias: z.array(z.number()),
  }),
  /** Per exit but the deepest: logit = weights · prefill features + bias. */
  prefill: z.array(
    z.strictObject({
      exit: z.int().positive(),
      weights: z.array(z.number()).length(PREFILL_FEATURES.length),
      bias: z.number(),
    }),
  ),
  thresholds: z.strictObject({
    /** Gate 1 takes the first exit whose probability reaches this. */
    prompt: probability,
    /** Gate 2 hands off below this. */
    prefill: probability,
  }),
  /** What the calibration measured on held-out prompts; read by people and tests, not by the gates. */
  report: z.record(z.string(), z.json()),
});
export type RouterFile = z.infer<typeof routerSchema>;

/** The parameters as the gates use them. */
export interface Router {
  readonly exits: readonly number[];
  readonly buckets: number;
  /** int8 `[exits, buckets]` */
  readonly promptWeights: Int8Array;
  readonly promptScale: readonly number[];
  readonly promptBias: readonly number[];
  readonly prefill: ReadonlyMap<number, { readonly weights: readonly number[]; readonly bias: number }>;
  readonly thresholds: { readonly prompt: number; readonly prefill: number };
}

/**
 * Validates router.json for a bundle.
 * @throws Error naming what does not fit, so that a router of another checkpoint is never used
 */
export function parseRouter(json: unknown, bundle: { fingerprint: string; exits: readonly number[] }): Router {
  const file = routerSchema.parse(json);
  if (file.fingerprint !== bundle.fingerprint) {
    throw new Error(
      `router.json was calibrated for checkpoint ${file.fingerprint}, the bundle is ${bundle.fingerprint}: run npm run calibrate`,
    );
  }
  const rows = file.exits.length;
  const promptWeights = Int8Array.from(atob(file.prompt.weights), (char) => char.charCodeAt(0));
  if (promptWeights.length !== rows * file.prompt.buckets || (file.prompt.buckets & (file.prompt.buckets - 1)) !== 0) {
    throw new Error("router.json: prompt.weights does not match exits and buckets");
  }
  if (file.prompt.scale.length !== rows || file.prompt.bias.length !== rows) {
    throw new Error("router.json: prompt.scale and prompt.bias need one number an exit");
  }
  if (file.exits.join() !== bundle.exits.join()) {
    throw new Error(`router.json knows exits ${file.exits.join()}, the bundle has ${bundle.exits.join()}`);
  }
  return {
    exits: file.exits,
    buckets: file.prompt.buckets,
    promptWeights,
    promptScale: file.prompt.scale,
    promptBias: file.prompt.bias,
    prefill: new Map(file.prefill.map(({ exit, weights, bias }) => [exit, { weights, bias }])),
    thresholds: file.thresholds,
  };
}
