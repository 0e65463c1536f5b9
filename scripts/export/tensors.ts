/** Which tensors a LLaMA-shaped checkpoint has: one more means a model the graphs would get wrong. */
import type { Checkpoint } from "./config.ts";
import type { Safetensors } from "./safetensors.ts";

const ATTENTION = ["q_proj", "k_proj", "v_proj", "o_proj"].map((name) => `self_attn.${name}`);
const MLP = ["gate_proj", "up_proj", "down_proj"].map((name) => `mlp.${name}`);
const NORMS = ["input_layernorm.weight", "post_attention_layernorm.weight"];
/** Written by old transformers; it follows from the config. */
const DERIVED = /\.rotary_emb\.inv_freq$/;

function expected(model: Checkpoint): Set<string> {
  const biased = (names: readonly string[], bias: boolean) =>
    names.flatMap((name) => (bias ? [`${name}.weight`, `${name}.bias`] : [`${name}.weight`]));
  const perLayer = [...biased(ATTENTION, model.attentionBias), ...biased(MLP, model.mlpBias), ...NORMS];
  const names = new Set(["model.embed_tokens.weight", "model.norm.weight", "lm_head.weight"]);
  for (let layer = 0; layer < model.layers; layer++) {
    for (const name of perLayer) names.add(`model.layers.${layer}.${name}`);
  }
  return names;
}

/** @throws naming the first tensor that has no place in the graphs, e.g. a bias the config does not announce. */
export function assertAllUsed(source: Safetensors, model: Checkpoint): void {
  const names = expected(model);
  const stray = source.names.find((name) => !names.has(name) && !DERIVED.test(name));
  if (stray !== undefined) {
    throw new Error(`the checkpoint has a tensor ${stray}, which a LLaMA-shaped model of this config has not`);
  }
}
