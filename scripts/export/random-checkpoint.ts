/** Checkpoints of a given shape with random weights, for benchmarks: speed does not depend on what weights say. */
import { closeSync, mkdirSync, openSync, writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { SINGLE_FILE } from "./safetensors.ts";

/** The fields of config.json that give a shape. */
export interface RandomShape {
  readonly hidden_size: number;
  readonly intermediate_size: number;
  readonly num_hidden_layers: number;
  readonly num_attention_heads: number;
  readonly num_key_value_heads: number;
  readonly head_dim: number;
  readonly vocab_size: number;
  readonly max_position_embeddings: number;
  readonly rope_theta: number;
  readonly tie_word_embeddings: boolean;
}

export const SHAPES = {
  /** https://huggingface.co/HuggingFaceTB/SmolLM2-135M/blob/main/config.json */
  "smollm2-135m": {
    hidden_size: 576,
    intermediate_size: 1536,
    num_hidden_layers: 30,
    num_attention_heads: 9,
    num_key_value_heads: 3,
    head_dim: 64,
    vocab_size: 49_152,
    max_position_embeddings: 8192,
    rope_theta: 100_000,
    tie_word_embeddings: true,
  },
} as const satisfies Record<string, RandomShape>;

/** Half the width of the weights' uniform distribution: variance 0.02², the initialisation of LLaMA models. */
const HALF_WIDTH = 0.02 * Math.sqrt(3);
/** bfloat16 bits of 1, the norms' gains. */
const ONE = 0x3f80;
const BYTES = 2;
/** Any seed but 0 will do for xorshift. */
const SEED = 0x9e37_79b9;

/** [name, shape] of every tensor, in file order. */
function tensorsOf(shape: RandomShape): [string, number[]][] {
  const { hidden_size: d, intermediate_size: f } = shape;
  const queries = shape.num_attention_heads * shape.head_dim;
  const keys = shape.num_key_value_heads * shape.head_dim;
  const layers = Array.from({ length: shape.num_hidden_layers }, (_, i): [string, number[]][] => [
    [`model.layers.${i}.input_layernorm.weight`, [d]],
    [`model.layers.${i}.self_attn.q_proj.weight`, [queries, d]],
    [`model.layers.${i}.self_attn.k_proj.weight`, [keys, d]],
    [`model.layers.${i}.self_attn.v_proj.weight`, [keys, d]],
    [`model.layers.${i}.self_attn.o_proj.weight`, [d, queries]],
    [`model.layers.${i}.post_attention_layernorm.weight`, [d]],
    [`model.layers.${i}.mlp.gate_proj.weight`, [f, d]],
    [`model.layers.${i}.mlp.up_proj.weight`, [f, d]],
    [`model.layers.${i}.mlp.down_proj.weight`, [d, f]],
  ]);
  const head: [string, number[]][] = shape.tie_word_embeddings ? [] : [["lm_head.weight", [shape.vocab_size, d]]];
  return [["model.embed_tokens.weight", [shape.vocab_size, d]], ...layers.flat(), ["model.norm.weight", [d]], ...head];
}

/** A tokenizer that knows one word: a bundle has one, and who measures speed brings token ids. */
const TOKENIZER = {
  version: "1.0",
  truncation: null,
  padding: null,
  added_tokens: [],
  normalizer: null,
  pre_tokenizer: null,
  post_processor: null,
  decoder: null,
  model: { type: "WordLevel", vocab: { "<unk>": 0 }, unk_token: "<unk>" },
};

/** Writes config.json, model.safetensors (bfloat16, the same weights every time) and a minimal tokenizer to `folder`. */
export function writeRandomCheckpoint(folder: string, shape: RandomShape): void {
  mkdirSync(folder, { recursive: true });
  const json = (name: string, value: unknown) => writeFileSync(join(folder, name), JSON.stringify(value, null, 2));
  json("config.json", { model_type: "llama", rms_norm_eps: 1e-5, hidden_act: "silu", eos_token_id: 0, ...shape });
  json("tokenizer.json", TOKENIZER);
  json("tokenizer_config.json", { tokenizer_class: "PreTrainedTokenizerFast", unk_token: "<unk>" });

  const tensors = tensorsOf(shape);
  const header: Record<string, unknown> = {};
  let end = 0;
  for (const [name, dims] of tensors) {
    const start = end;
    end += dims.reduce((product, dim) => product * dim, BYTES);
    header[name] = { dtype: "BF16", shape: dims, data_offsets: [start, end] };
  }
  const headerBytes = new TextEncoder().encode(JSON.stringify(header));
  const file = openSync(join(folder, SINGLE_FILE), "w");
  writeSync(file, BigUint64Array.of(BigInt(headerBytes.length)));
  writeSync(file, headerBytes);
  const random = xorshift(SEED);
  for (const [, dims] of tensors) {
    const data = new Uint16Array(dims.reduce((product, dim) => product * dim));
    if (dims.length === 1) data.fill(ONE);
    else for (let i = 0; i < data.length; i++) data[i] = bfloat16((random() * 2 - 1) * HALF_WIDTH);
    writeSync(file, data);
  }
  closeSync(file);
}

/** Uniform numbers in [0, 1): Marsaglia's xorshift32. */
function xorshift(seed: number): () => number {
  let state = seed;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 32;
  };
}

const single = new Float32Array(1);
const bits = new Uint32Array(single.buffer);

/** The upper half of a float32, cut off. */
function bfloat16(value: number): number {
  single[0] = value;
  return bits[0]! >>> 16;
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: { shape: { type: "string", default: "smollm2-135m" }, out: { type: "string" }, help: { type: "boolean" } },
  });
  const shape = Object.entries(SHAPES).find(([name]) => name === values.shape)?.[1];
  if (values.help || shape === undefined || values.out === undefined) {
    console.log(`node scripts/export/random-checkpoint.ts --out DIR [--shape ${Object.keys(SHAPES).join("|")}]`);
  } else {
    writeRandomCheckpoint(values.out, shape);
  }
}
