/** The layers' two ends, token ids → embeddings and hidden states → logits, as a graph of their own or as parts of one. */
import { GraphBuilder } from "./onnx/graph.ts";
import type { WeightStore } from "./onnx/weights.ts";
import type { Checkpoint } from "./config.ts";
import { tensorMatrix } from "./matrix.ts";
import type { Numerics, Vocabulary } from "./numerics.ts";
import type { Safetensors } from "./safetensors.ts";
import type { Builder } from "./segment.ts";

const EMBEDDING = "model.embed_tokens.weight";
const HEAD = "lm_head.weight";
const FINAL_NORM = "model.norm.weight";

/** Matrices of both ends, [d, V]; of a tied checkpoint the same one. */
export interface Rim {
  readonly embedding: Vocabulary;
  readonly head: Vocabulary;
}

/**
 * Inputs: `input_ids` int64 [B,T], `hidden_state` f32 [B,N,d] (before the final norm).
 * Outputs: `embedding` f32 [B,T,d], `logits` f32 [B,N,V]. T or N may be 0: that half is then not wanted.
 */
export function rimGraph(model: Checkpoint, source: Safetensors, numerics: Numerics, weights: WeightStore): Uint8Array {
  const { hiddenSize, vocabulary } = model;
  const graph = new GraphBuilder("embedding and head", weights);
  const builder = { graph, model, source, numerics };
  const rim = storeRim(builder);
  const none = (width: number) => () => graph.op("ConstantOfShape", [graph.int64s(1, 0, width)]); // zeros of float32

  const ids = graph.input("input_ids", "int64", ["B", "T"]);
  const embedded = { type: "float32", dims: ["B", "T", hiddenSize] } as const;
  const looked = () => rim.embedding.embed(ids);
  graph.op("Identity", [graph.either(anyRows(graph, ids), embedded, looked, none(hiddenSize))], {
    outputs: ["embedding"],
  });
  graph.output("embedding", embedded.type, embedded.dims);

  const hidden = graph.input("hidden_state", "float32", ["B", "N", hiddenSize]);
  const scored = { type: "float32", dims: ["B", "N", vocabulary] } as const;
  const logits = () => headLogits(builder, rim, hidden);
  graph.op("Identity", [graph.either(anyRows(graph, hidden), scored, logits, none(vocabulary))], {
    outputs: ["logits"],
  });
  graph.output("logits", scored.type, scored.dims);
  return graph.finish();
}

/** Writes the matrices of both ends: a tied checkpoint's one weight once. */
export function storeRim({ graph, model, source, numerics }: Builder): Rim {
  const store = (name: string) =>
    numerics.vocabulary(graph, name, tensorMatrix(source, name, model.vocabulary, model.hiddenSize));
  const embedding = store(EMBEDDING);
  return { embedding, head: model.tied ? embedding : store(HEAD) };
}

/** Final norm and head. @param hidden float32 [B, N, d], N at least 1. @returns float32 [B, N, V]. */
export function headLogits({ graph, model, source }: Builder, { head }: Rim, hidden: string): string {
  const width = [model.hiddenSize];
  const gain = graph.weight(FINAL_NORM, "float32", width, () => source.tensor(FINAL_NORM, width));
  const normed = graph.op("RMSNormalization", [hidden, gain], { attributes: { epsilon: { float: model.epsilon } } });
  return head.score(normed);
}

/** Whether `values` [B, T, …] has any rows: bool scalar. */
export function anyRows(graph: GraphBuilder, values: string): string {
  const rows = graph.op("Shape", [values], { attributes: { start: { int: 1 }, end: { int: 2 } } }); // [1]
  return graph.op("Greater", [graph.op("Squeeze", [rows]), graph.int64(0)]);
}
