/** Reads a checkpoint's config.json, and refuses by name what the graphs could not reproduce. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { rope, ropeSchema, type Rope } from "./rope.ts";

const only = <const T extends string | number | boolean | null>(...values: T[]) =>
  z.literal(values, {
    error: (issue) =>
      `is ${JSON.stringify(issue.input)}; only ${values.map((value) => JSON.stringify(value)).join(", ")} ` +
      `${values.length === 1 ? "is" : "are"} supported`,
  });
const count = z.int().positive();
const idsSchema = z
  .union([
    z
      .int()
      .min(0)
      .transform((id) => [id]),
    z.array(z.int().min(0)),
  ])
  .nullish();

/** The fields of LlamaConfig and MistralConfig that change the computation. */
const configSchema = z.object({
  model_type: only("llama", "mistral"),
  hidden_size: count,
  intermediate_size: count,
  num_hidden_layers: count,
  num_attention_heads: count,
  num_key_value_heads: count.nullish(),
  head_dim: count.nullish(),
  vocab_size: count,
  max_position_embeddings: count,
  rms_norm_eps: z.number().positive().default(1e-6),
  hidden_act: only("silu").default("silu"),
  tie_word_embeddings: z.boolean().default(false),
  attention_bias: z.boolean().default(false),
  mlp_bias: z.boolean().default(false),
  rope_theta: z.number().positive().nullish(),
  rope_scaling: ropeSchema.nullish(),
  rope_parameters: ropeSchema.nullish(),
  partial_rotary_factor: only(1).optional(),
  sliding_window: count.nullish(),
  quantization_config: z
    .never({ error: "is set; only float32, float16 and bfloat16 weights are supported" })
    .optional(),
  sorted_exits: z.array(count).min(1).optional(),
  /** Exits with heads or layers of their own are not exported: `sortie-view` cuts each out as a checkpoint. */
  sorted_exit_heads: only("shared").optional(),
  eos_token_id: idsSchema,
});

/** transformers' default where neither config field gives one. */
const DEFAULT_ROPE_THETA = 10_000;
/** MistralConfig's default; LlamaConfig's is one per attention head. */
const MISTRAL_KEY_VALUE_HEADS = 8;

/** What the graphs need to know of a checkpoint. */
export interface Checkpoint {
  readonly layers: number;
  /** d, width of the hidden state. */
  readonly hiddenSize: number;
  readonly feedForward: number;
  /** H, attention heads. */
  readonly heads: number;
  /** Hkv, key and value heads; divides H. */
  readonly kvHeads: number;
  /** Dh, width of one head; even. */
  readonly headDim: number;
  readonly vocabulary: number;
  /** Longest sequence in tokens. */
  readonly contextLength: number;
  readonly epsilon: number;
  readonly tied: boolean;
  readonly attentionBias: boolean;
  readonly mlpBias: boolean;
  readonly rope: Rope;
  /** Ascending depths. */
  readonly exits: readonly number[];
  readonly eosTokenIds: readonly number[];
}

export interface ConfigOptions {
  /** Overrides `sorted_exits`. */
  readonly exits?: readonly number[] | undefined;
  /** Shortens the context below `max_position_embeddings`, in tokens. */
  readonly contextLength?: number | undefined;
}

function fail(field: string, problem: string): never {
  throw new Error(`config.json: ${field} ${problem}`);
}

/**
 * @param config the parsed config.json.
 * @param eos `eos_token_id` of generation_config.json, which goes before config.json's.
 * @throws with the name of the field that is missing, wrong or unsupported.
 */
export function parseConfig(config: unknown, options: ConfigOptions = {}, eos?: readonly number[]): Checkpoint {
  const parsed = configSchema.safeParse(config);
  if (!parsed.success) {
    const issue = parsed.error.issues[0]!;
    const unknown = issue.code === "unrecognized_keys" ? issue.keys.slice(0, 1) : [];
    const field = [...issue.path, ...unknown].join(".") || "(the document)";
    fail(field, unknown.length > 0 ? "is not supported" : describe(issue.message));
  }
  const c = parsed.data;
  const heads = c.num_attention_heads;
  const kvHeads = c.num_key_value_heads ?? (c.model_type === "mistral" ? MISTRAL_KEY_VALUE_HEADS : heads);
  if (heads % kvHeads !== 0) fail("num_key_value_heads", `is ${kvHeads}; it must divide ${heads} heads`);
  const headDim = c.head_dim ?? c.hidden_size / heads;
  if (headDim % 2 !== 0) fail("head_dim", `is ${headDim}; rotary embedding needs an even whole number`);
  const contextLength = Math.min(options.contextLength ?? Infinity, c.max_position_embeddings);
  if (c.sliding_window && c.sliding_window < contextLength) {
    const longest = `export with --context-length ${c.sliding_window} or less`;
    fail("sliding_window", `is ${c.sliding_window}, shorter than the context of ${contextLength}: ${longest}`);
  }
  const ropeFields = c.rope_parameters ?? c.rope_scaling ?? {};
  return {
    layers: c.num_hidden_layers,
    hiddenSize: c.hidden_size,
    feedForward: c.intermediate_size,
    heads,
    kvHeads,
    headDim,
    vocabulary: c.vocab_size,
    contextLength,
    epsilon: c.rms_norm_eps,
    tied: c.tie_word_embeddings,
    attentionBias: c.attention_bias,
    mlpBias: c.mlp_bias,
    rope: rope(ropeFields, {
      headDim,
      theta: ropeFields.rope_theta ?? c.rope_theta ?? DEFAULT_ROPE_THETA,
      maxPositions: c.max_position_embeddings,
    }),
    exits: checkExits(options.exits ?? c.sorted_exits ?? [c.num_hidden_layers], c.num_hidden_layers),
    eosTokenIds: eos ?? c.eos_token_id ?? [],
  };
}

/** zod says "Invalid input: expected int, received undefined" of a field that is not there. */
function describe(message: string): string {
  if (message.endsWith("received undefined")) return "is missing";
  return message.startsWith("Invalid") ? `is not valid: ${message}` : message;
}

function checkExits(exits: readonly number[], layers: number): readonly number[] {
  const ascending = exits.every((exit, i) => exit > (exits[i - 1] ?? 0));
  if (!ascending || exits.length === 0 || exits.at(-1)! > layers) {
    throw new Error(`exits ${exits.join(",")} must ascend and end at ${layers}, the number of layers, or before`);
  }
  return exits;
}

function readJson(path: string): unknown {
  try {
    return JSON.parse(readFileSync(path, "utf8"));
  } catch (error) {
    throw new Error(`${path}: ${(error as Error).message}`, { cause: error });
  }
}

/** Reads config.json and, where present, generation_config.json of a checkpoint folder. @throws as `parseConfig`. */
export function readConfig(folder: string, options: ConfigOptions = {}): Checkpoint {
  const generation = join(folder, "generation_config.json");
  const eos = existsSync(generation)
    ? (z.object({ eos_token_id: idsSchema }).parse(readJson(generation)).eos_token_id ?? undefined)
    : undefined;
  return parseConfig(readJson(join(folder, "config.json")), options, eos);
}
