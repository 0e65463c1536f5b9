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
  const looked = whereAny(graph, ids, hiddenSize, () => numerics.columns(graph, embedding, ids));
  graph.op("Identity", [looked], { outputs: ["embedding"] });
  graph.output("embedding", "float32", ["B", "T", hiddenSize]);

  const hidden = graph.input("hidden_state", "float32", ["B", "N", hiddenSize]);
  const gain = graph.weight(FINAL_NORM, "float32", [hiddenSize], source.tensor(FINAL_NORM, [hiddenSize]));
  const logits = whereAny(graph, hidden, vocabulary, () => {
    const normed = graph.op("RMSNormalization", [hidden, gain], { attributes: { epsilon: { float: model.epsilon } } });
    return numerics.product(graph, numerics.operand(graph, normed), head);
  });
  graph.op("Identity", [logits], { outputs: ["logits"] });
  graph.output("logits", "float32", ["B", "N", vocabulary]);
  return graph.finish();
}

/** What `build` adds, [B, T, width], if `values` [B, T, …] has any rows; otherwise [1, 0, width], and nothing is computed. */
function whereAny(graph: GraphBuilder, values: string, width: number, build: () => string): string {
  const rows = graph.op("Shape", [values], { attributes: { start: { int: 1 }, end: { int: 2 } } }); // [1]
  const any = graph.op("Greater", [graph.op("Squeeze", [rows]), graph.int64(0)]);
  const none = () => graph.op("ConstantOfShape", [graph.int64s(1, 0, width)]); // zeros of float32
  return graph.either(any, { type: "float32", dims: ["B", "T", width] }, build, none);
}
