/**
 * Rotary position embedding: the inverse frequencies of each scaling scheme, as transformers computes
 * them (`modeling_rope_utils.py`). The angle of pair i at position p is p · frequencies[i].
 */
import { z } from "zod";

/** Fields of `rope_parameters` (new form) or `rope_scaling` (old form); unknown ones are refused. */
export const ropeSchema = z.strictObject({
  rope_type: z.string().optional(),
  /** Older name of `rope_type`. */
  type: z.string().optional(),
  rope_theta: z.number().positive().optional(),
  factor: z.number().positive().optional(),
  original_max_position_embeddings: z.int().positive().optional(),
  low_freq_factor: z.number().optional(),
  high_freq_factor: z.number().optional(),
  attention_factor: z.number().nullish(),
  beta_fast: z.number().nullish(),
  beta_slow: z.number().nullish(),
  mscale: z.number().nullish(),
  mscale_all_dim: z.number().nullish(),
  truncate: z.boolean().nullish(),
  partial_rotary_factor: z.literal(1, { error: "only 1 is supported" }).optional(),
  /** A note of how a YaRN checkpoint was made. */
  finetuned: z.boolean().optional(),
});
export type RopeFields = z.infer<typeof ropeSchema>;

export interface Rope {
  /** Radians per position, [head_dim / 2]. */
  readonly frequencies: Float32Array;
  /** Factor on cosine and sine (YaRN's attention temperature), else 1. */
  readonly amplitude: number;
}

export interface RopeContext {
  readonly headDim: number;
  /** Base of the geometric series of wavelengths. */
  readonly theta: number;
  /** `max_position_embeddings`, in tokens. */
  readonly maxPositions: number;
}

/** YaRN: rotations over the trained context above which a pair keeps its frequency, below which it is interpolated. */
const YARN_BETA_FAST = 32;
const YARN_BETA_SLOW = 1;
/** YaRN's temperature: 0.1 · ln(factor) + 1 (https://arxiv.org/abs/2309.00071, section 3.4). */
const YARN_TEMPERATURE = 0.1;

/**
 * @param fields the scaling scheme, `{}` for none. `dynamic` scales only beyond `maxPositions`, where a
 * bundle never goes, so up to there it is the plain embedding.
 * @throws naming the field that is unknown or missing.
 */
export function rope(fields: RopeFields, context: RopeContext): Rope {
  const type = fields.rope_type ?? fields.type ?? "default";
  const plain = plainFrequencies(context);
  switch (type) {
    case "default":
    case "dynamic":
      return { frequencies: Float32Array.from(plain), amplitude: 1 };
    case "linear": {
      const factor = required(fields, "factor");
      return { frequencies: Float32Array.from(plain, (f) => f / factor), amplitude: 1 };
    }
    case "llama3":
      return { frequencies: llama3Frequencies(plain, fields), amplitude: 1 };
    case "yarn":
      return yarn(plain, fields, context);
    default:
      throw new Error(
        `config.json: rope_type is ${JSON.stringify(type)}; ` +
          `"default", "linear", "dynamic", "llama3" and "yarn" are supported`,
      );
  }
}

type NumberField = "factor" | "low_freq_factor" | "high_freq_factor" | "original_max_position_embeddings";

function required(fields: RopeFields, name: NumberField): number {
  const value = fields[name];
  if (value === undefined) throw new Error(`config.json: the rope scaling lacks ${name}`);
  return value;
}

/** θ^(−2i / head_dim) for i = 0 … head_dim/2 − 1. */
function plainFrequencies({ headDim, theta }: RopeContext): number[] {
  return Array.from({ length: headDim / 2 }, (_, i) => theta ** ((-2 * i) / headDim));
}

/** Llama 3.1: long wavelengths divided by the factor, short ones kept, a linear blend between. */
function llama3Frequencies(plain: readonly number[], fields: RopeFields): Float32Array {
  const factor = required(fields, "factor");
  const low = required(fields, "low_freq_factor");
  const high = required(fields, "high_freq_factor");
  const trained = required(fields, "original_max_position_embeddings");
  return Float32Array.from(plain, (frequency) => {
    const rotations = (trained * frequency) / (2 * Math.PI);
    const kept = Math.min(1, Math.max(0, (rotations - low) / (high - low)));
    return kept * frequency + ((1 - kept) * frequency) / factor;
  });
}

/** YaRN (https://arxiv.org/abs/2309.00071): interpolate slow pairs, keep fast ones, blend between; scale the logits. */
function yarn(plain: readonly number[], fields: RopeFields, context: RopeContext): Rope {
  const { headDim, theta, maxPositions } = context;
  const trained = fields.original_max_position_embeddings ?? maxPositions;
  const factor = fields.factor ?? maxPositions / trained;
  // The pair index whose wavelength fits `rotations` times into the trained context.
  const pairOf = (rotations: number) =>
    (headDim * Math.log(trained / (rotations * 2 * Math.PI))) / (2 * Math.log(theta));
  const round = fields.truncate === false;
  const fast = pairOf(fields.beta_fast ?? YARN_BETA_FAST);
  const slow = pairOf(fields.beta_slow ?? YARN_BETA_SLOW);
  const first = Math.max(round ? fast : Math.floor(fast), 0);
  const last = Math.min(round ? slow : Math.ceil(slow), headDim - 1);
  // transformers widens an empty blend by this much, to divide by something.
  const width = first === last ? 0.001 : last - first;
  const frequencies = Float32Array.from(plain, (frequency, i) => {
    const interpolated = Math.min(1, Math.max(0, (i - first) / width));
    return (frequency / factor) * interpolated + frequency * (1 - interpolated);
  });
  return { frequencies, amplitude: fields.attention_factor ?? yarnAmplitude(factor, fields) };
}

function yarnAmplitude(factor: number, { mscale, mscale_all_dim: all }: RopeFields): number {
  const temperature = (scale: number) => (factor <= 1 ? 1 : YARN_TEMPERATURE * scale * Math.log(factor) + 1);
  return mscale && all ? temperature(mscale) / temperature(all) : temperature(1);
}
