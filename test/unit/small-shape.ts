/** The shape of checkpoints that tests write and export: as small as every part of a graph allows. */
import type { RandomShape } from "../../scripts/export/random-checkpoint.ts";

export const SMALL_SHAPE: RandomShape = {
  hidden_size: 32,
  intermediate_size: 48,
  num_hidden_layers: 3,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  head_dim: 8,
  vocab_size: 300,
  max_position_embeddings: 128,
  rope_theta: 10_000,
  tie_word_embeddings: true,
};
