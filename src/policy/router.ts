/** router.json: the gates' parameters and thresholds, written by `npm run calibrate`, bound to one checkpoint. */
import { z } from "zod";
import { DECODE_FEATURES, type DecodeModel } from "./decode-gate.ts";
import { PREFILL_SCALARS, type Probe } from "./prefill-gate.ts";
import type { PromptGate } from "./prompt-gate.ts";
import { cascadeSchema, type Cascade } from "./targets.ts";

/** Bumped when an older Worker could not read the file. */
export const ROUTER_FORMAT = "sortie-router/2";

/** Gate 1's parameters at most: the file is read once an isolate, whose memory the model needs. */
export const MAX_PROMPT_BYTES = 200_000;

const finite = z.number();
const layerSchema = z.int().positive();

export const routerSchema = z.strictObject({
  format: z.literal(ROUTER_FORMAT),
  /** The checkpoint whose answers were labelled. */
  fingerprint: z.string().regex(/^[0-9a-f]{16}$/),
  exits: z.array(layerSchema).min(1),
  /** The exits that the edge was calibrated to serve. */
  edge_exits: z.array(layerSchema).min(1),
  /** The quality target of requests that name none. */
  default_quality: z.number().gt(0).max(1),
  prompt: z.strictObject({
    /** Hash buckets, a power of two. */
    buckets: z.int().positive(),
    /** Base64 of int8 `[exits, buckets]`. */
    weights: z.base64(),
    /** Per exit: logit = scale · (int8 weights · features) + bias. */
    scale: z.array(finite),
    bias: z.array(finite),
  }),
  /** Per exit but the deepest. */
  probes: z.array(
    z.strictObject({
      exit: layerSchema,
      /** Base64 of float32, little-endian, `[4 + 2d]`: logit = weights · prefill features + bias. */
      prefill: z.base64(),
      prefill_bias: finite,
      decode: z.array(finite).length(DECODE_FEATURES.length),
      decode_bias: finite,
    }),
  ),
  /** One a range of allowed exits that has more than one. */
  cascades: z.array(cascadeSchema),
  /** What the calibration measured on prompts that neither gates nor thresholds saw; for people, not for the gates. */
  report: z.record(z.string(), z.json()),
});
export type RouterFile = z.infer<typeof routerSchema>;

/** The parameters as the gates use them. */
export interface Router {
  readonly exits: readonly number[];
  readonly edgeExits: readonly number[];
  readonly defaultQuality: number;
  readonly prompt: PromptGate;
  /** By exit. */
  readonly prefill: ReadonlyMap<number, Probe>;
  readonly decode: ReadonlyMap<number, DecodeModel>;
  readonly cascades: readonly Cascade[];
}

/** What a router must fit. */
export interface RoutedBundle {
  readonly fingerprint: string;
  readonly exits: readonly number[];
  readonly shape: { readonly hidden_size: number };
}

/**
 * Validates router.json for a bundle.
 * @throws Error naming what does not fit, so that a router of another checkpoint is never used
 */
export function parseRouter(json: unknown, bundle: RoutedBundle): Router {
  const file = parsed(json);
  if (file.fingerprint !== bundle.fingerprint) {
    throw wrong(`it was calibrated for checkpoint ${file.fingerprint}, the bundle is ${bundle.fingerprint}`);
  }
  if (file.exits.join() !== bundle.exits.join()) {
    throw wrong(`it knows exits ${file.exits.join()}, the bundle has ${bundle.exits.join()}`);
  }
  const probes = file.probes.map(({ exit, prefill, prefill_bias: bias, ...rest }) => {
    const weights = new Float32Array(bytesOf(prefill).buffer);
    if (weights.length !== PREFILL_SCALARS.length + 2 * bundle.shape.hidden_size) {
      throw wrong(`the probe of exit ${exit} does not fit a hidden size of ${bundle.shape.hidden_size}`);
    }
    return { exit, prefill: { weights, bias }, decode: { weights: rest.decode, bias: rest.decode_bias } };
  });
  for (const exit of file.exits.slice(0, -1)) {
    if (!probes.some((probe) => probe.exit === exit)) throw wrong(`it has no probe of exit ${exit}`);
  }
  return {
    exits: file.exits,
    edgeExits: file.edge_exits,
    defaultQuality: file.default_quality,
    prompt: promptGate(file.prompt, file.exits.length),
    prefill: new Map(probes.map(({ exit, prefill }) => [exit, prefill])),
    decode: new Map(probes.map(({ exit, decode }) => [exit, decode])),
    cascades: file.cascades,
  };
}

function parsed(json: unknown): RouterFile {
  const result = routerSchema.safeParse(json);
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  throw wrong(`${issue?.path.join(".") || "the file"}: ${issue?.message ?? "does not fit its schema"}`);
}

function promptGate({ buckets, weights: base64, scale, bias }: RouterFile["prompt"], rows: number): PromptGate {
  const weights = new Int8Array(bytesOf(base64).buffer);
  if (weights.length > MAX_PROMPT_BYTES) throw wrong(`prompt.weights has more than ${MAX_PROMPT_BYTES} bytes`);
  if (weights.length !== rows * buckets || (buckets & (buckets - 1)) !== 0) {
    throw wrong("prompt.weights does not match exits and buckets");
  }
  if (scale.length !== rows || bias.length !== rows) {
    throw wrong("prompt.scale and prompt.bias need one number an exit");
  }
  return { buckets, weights, scale, bias };
}

function bytesOf(base64: string): Uint8Array<ArrayBuffer> {
  const bytes = Uint8Array.from(atob(base64), (char) => char.charCodeAt(0));
  return bytes.length % 4 === 0 ? bytes : bytes.slice(0, 0); // no whole float32: never the length that is asked for
}

function wrong(why: string): Error {
  return new Error(`router.json is not used: ${why}. Run npm run calibrate.`);
}
