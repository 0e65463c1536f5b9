/** The graph of the layers' two ends: token ids → embeddings, hidden states → logits. */
import { GraphBuilder } from "./onnx/graph.ts";
import type { WeightFiles } from "./onnx/weights.ts";
import type { Checkpoint } from "./config.ts";
import { tensorMatrix } from "./matrix.ts";
import type { Numerics } from "./numerics.ts";
import type { Safetensors } from "./safetensors.ts";

const EMBEDDING = "model.embed_tokens.weight";
const HEAD = "lm_head.weight";
const FINAL_NORM = "model.norm.weight";

/**
 * Inputs: `input_ids` int64 [B,T], `hidden_state` f32 [B,N,d] (before the final norm).
 * Outputs: `embedding` f32 [B,T,d], `logits` f32 [B,N,V]. T or N may be 0: that half is then not wanted.
 * A tied checkpoint's embedding and head are one weight, kept once.
 */
export function rimGraph(model: Checkpoint, source: Safetensors, numerics: Numerics, weights: WeightFiles): Uint8Array {
  const { hiddenSize, vocabulary } = model;
  const graph = new GraphBuilder("embedding and head", weights);
  const store = (name: string) => numerics.store(graph, name, tensorMatrix(source, name, vocabulary, hiddenSize));
  const embedding = store(EMBEDDING);
  const head = model.tied ? embedding : store(HEAD);

  const ids = graph.input("input_ids", "int64", ["B", "T"]);
  const looked = numerics.columns(graph, embedding, ids);
  graph.op("Identity", [looked], { outputs: ["embedding"] });
  graph.output("embedding", "float32", ["B", "T", hiddenSize]);

  const hidden = graph.input("hidden_state", "float32", ["B", "N", hiddenSize]);
  const gain = graph.weight(FINAL_NORM, "float32", [hiddenSize], source.tensor(FINAL_NORM, [hiddenSize]));
  const normed = graph.op("RMSNormalization", [hidden, gain], { attributes: { epsilon: { float: model.epsilon } } });
  const logits = numerics.product(graph, numerics.operand(graph, normed, true), head);
  graph.op("Identity", [logits], { outputs: ["logits"] });
  graph.output("logits", "float32", ["B", "N", vocabulary]);
  return graph.finish();
}
