/** A segment: the decoder layers between two adjacent exits, as a graph of their own or as a part of one. */
import { GraphBuilder, MICROSOFT } from "./onnx/graph.ts";
import type { WeightStore } from "./onnx/weights.ts";
import type { Checkpoint } from "./config.ts";
import { isTight, type Limit, normLimit, valueLimit } from "./limits.ts";
import { stack, tensorMatrix, type Matrix } from "./matrix.ts";
import type { Numerics } from "./numerics.ts";
import type { Safetensors } from "./safetensors.ts";

/** x · sigmoid(1 · x) is SiLU. */
const SILU_ALPHA = 1;

/** What every part of a segment's graph is built from. */
export interface Builder {
  readonly graph: GraphBuilder;
  readonly model: Checkpoint;
  readonly source: Safetensors;
  readonly numerics: Numerics;
}

/** Positions of the tokens, and what all layers make of them. */
export interface Positions {
  /** int64 [B, T]. */
  readonly ids: string;
  /** float32 [B, T, Dh/2]. */
  readonly cosine: string;
  readonly sine: string;
}

/** Values all layers of a segment share, and what they leave behind. */
interface Segment extends Positions {
  /** Name of bool [B, 1, T, P+T], made by the first layer from its keys' length. */
  mask: string | undefined;
  /** float32 [B, T, Hkv·Dh] of each layer; keys after rotation. */
  readonly newKeys: string[];
  readonly newValues: string[];
}

/** Layers `first`…`last`-1 of the checkpoint, 0-based. */
export interface LayerRange {
  readonly first: number;
  readonly last: number;
}

/** The residual stream: `sum` = `residual` + `delta`, the addition left to the next normalisation. */
interface Stream {
  readonly residual: string;
  readonly delta: string | undefined;
}

/**
 * A segment as one ONNX model.
 * Inputs: `hidden_state` f32 [B,T,d], `position_ids` int64 [B,T], `past_k.i`, `past_v.i` f32 [B,P,Hkv·Dh], B being 1.
 * Outputs: `hidden_state_out` f32 [B,T,d], `new_state` f32 [2·layers,T,Hkv·Dh]: keys (after rotation) of every layer,
 * then values. The key in row j of past and new together has position j; a query at position p sees keys 0…p.
 */
export function segmentGraph(
  model: Checkpoint,
  source: Safetensors,
  numerics: Numerics,
  range: LayerRange,
  weights: WeightStore,
): Uint8Array {
  const graph = new GraphBuilder(`layers ${range.first + 1} to ${range.last}`, weights);
  const builder = { graph, model, source, numerics };
  const types = segmentOutputs(model, range);
  const hidden = graph.input("hidden_state", "float32", types.hidden.dims);
  const positions = rotation(builder, graph.input("position_ids", "int64", ["B", "T"]));
  decoderLayers(builder, hidden, positions, range, { hidden: "hidden_state_out", state: "new_state" });
  graph.output("hidden_state_out", types.hidden.type, types.hidden.dims);
  graph.output("new_state", types.state.type, types.state.dims);
  return graph.finish();
}

/** Types of what `decoderLayers` returns. */
export function segmentOutputs({ hiddenSize, kvHeads, headDim }: Checkpoint, { first, last }: LayerRange) {
  return {
    hidden: { type: "float32", dims: ["B", "T", hiddenSize] },
    state: { type: "float32", dims: [2 * (last - first), "T", kvHeads * headDim] },
  } as const;
}

/**
 * Runs the layers of a range; their `past_k.i` and `past_v.i` become inputs of the graph.
 * @param hidden float32 [B, T, d].
 * @param outputs names of the results: hidden float32 [B, T, d], state float32 [2·layers, T, Hkv·Dh].
 */
export function decoderLayers(
  builder: Builder,
  hidden: string,
  positions: Positions,
  range: LayerRange,
  outputs: { readonly hidden: string; readonly state: string },
): void {
  const { graph } = builder;
  const segment: Segment = { ...positions, mask: undefined, newKeys: [], newValues: [] };
  let stream: Stream = { residual: hidden, delta: undefined };
  for (let layer = range.first; layer < range.last; layer++) {
    const attention = normalise(builder, stream, `model.layers.${layer}.input_layernorm.weight`);
    const attended = attend(builder, layer, attention, segment);
    stream = { residual: attention.sum, delta: attended };
    const mlp = normalise(builder, stream, `model.layers.${layer}.post_attention_layernorm.weight`);
    stream = { residual: mlp.sum, delta: feedForward(builder, layer, mlp.normed) };
  }
  graph.op("Add", [stream.residual, stream.delta!], { outputs: [outputs.hidden] });
  graph.op("Concat", [...segment.newKeys, ...segment.newValues], {
    attributes: { axis: { int: 0 } },
    outputs: [outputs.state],
  });
}

/** Cosines and sines of the positions' angles, computed as transformers does, in float32. */
export function rotation({ graph, model }: Builder, positionIds: string): Positions {
  const { frequencies, amplitude } = model.rope;
  const table = graph.weight("rope.frequencies", "float32", [1, 1, frequencies.length], () => frequencies);
  const float = graph.op("Cast", [positionIds], { attributes: { to: { int: 1 } } }); // [B, T]
  const angles = graph.op("Mul", [graph.op("Unsqueeze", [float, graph.int64s(2)]), table]); // [B, T, Dh/2]
  const scaled = (values: string) => (amplitude === 1 ? values : graph.op("Mul", [values, graph.float(amplitude)]));
  const cosine = scaled(graph.op("Cos", [angles]));
  const sine = scaled(graph.op("Sin", [angles]));
  return { cosine, sine, ids: positionIds };
}

/** Which keys a query sees: bool [B, 1, T, P+T]. @param keys [B, P+T, …]. */
function causalMask(graph: GraphBuilder, keys: string, positionIds: string): string {
  const length = graph.op("Shape", [keys], { attributes: { start: { int: 1 }, end: { int: 2 } } }); // [1]
  const count = graph.op("Squeeze", [length]);
  const slots = graph.op("Range", [graph.int64(0), count, graph.int64(1)]); // [P+T]
  const rows = graph.op("Unsqueeze", [positionIds, graph.int64s(1, 3)]); // [B, 1, T, 1]
  return graph.op("LessOrEqual", [slots, rows]);
}

/** RMS norm of the stream, what bounds its values, and the stream with its addition done. */
function normalise(
  { graph, model, source }: Builder,
  { residual, delta }: Stream,
  weight: string,
): { normed: string; limit: Limit; sum: string } {
  const gains = source.tensor(weight, [model.hiddenSize]);
  const gain = graph.weight(weight, "float32", [model.hiddenSize], () => gains);
  const attributes = { epsilon: { float: model.epsilon } };
  const limit = normLimit(gains);
  if (delta === undefined) {
    return { normed: graph.op("RMSNormalization", [residual, gain], { attributes }), limit, sum: residual };
  }
  const normed = graph.fresh("normed");
  const sum = graph.fresh("sum");
  graph.ops("SkipSimplifiedLayerNormalization", [residual, delta, gain], {
    domain: MICROSOFT,
    attributes,
    outputs: [normed, "", "", sum],
  });
  return { normed, limit, sum };
}

/** One product for all matrices that read `values`, biases added: float32 [B, T, Σ outputs]. */
function project(
  { graph, source, numerics }: Builder,
  values: string,
  layer: number,
  names: readonly (readonly [name: string, outputs: number])[],
  shape: {
    readonly inputs: number;
    readonly bias: boolean;
    readonly outliers?: boolean;
    /** What bounds the values, where they are to have smaller steps. */
    readonly limit?: Limit;
  },
): string {
  const prefix = `model.layers.${layer}.`;
  const parts: Matrix[] = names.map(([name, outputs]) =>
    tensorMatrix(source, `${prefix}${name}.weight`, outputs, shape.inputs),
  );
  const label = `${prefix}${names.map(([name]) => name.split(".").at(-1)).join("+")}`;
  const whole = stack(parts);
  const ready = shape.outliers === true ? numerics.spread(graph, values, whole) : { values, matrix: whole };
  const matrix = numerics.store(graph, label, ready.matrix);
  const operand =
    shape.limit === undefined
      ? numerics.operand(graph, ready.values)
      : numerics.fineOperand(graph, ready.values, isTight(shape.limit) ? shape.limit.most : undefined);
  const product = numerics.product(graph, operand, matrix);
  if (!shape.bias) return product;
  const bias = () => {
    const joined = new Float32Array(matrix.outputs);
    let start = 0;
    for (const [name, outputs] of names) {
      joined.set(source.tensor(`${prefix}${name}.bias`, [outputs]), start);
      start += outputs;
    }
    return joined;
  };
  return graph.op("Add", [product, graph.weight(`${label}.bias`, "float32", [matrix.outputs], bias)]);
}

/** Self-attention of one layer. @param normed float32 [B, T, d]. @returns float32 [B, T, d]. */
function attend(
  builder: Builder,
  layer: number,
  { normed, limit }: { readonly normed: string; readonly limit: Limit },
  segment: Segment,
): string {
  const { graph, model, source } = builder;
  const queryWidth = model.heads * model.headDim;
  const keyWidth = model.kvHeads * model.headDim;
  const joined = project(
    builder,
    normed,
    layer,
    [
      ["self_attn.q_proj", queryWidth],
      ["self_attn.k_proj", keyWidth],
      ["self_attn.v_proj", keyWidth],
    ],
    { inputs: model.hiddenSize, bias: model.attentionBias, limit },
  );
  const newValues = graph.fresh("v");
  const turning = graph.fresh("qk"); // queries and keys turn alike: one rotation for both
  graph.ops("Split", [joined, graph.int64s(queryWidth + keyWidth, keyWidth)], {
    attributes: { axis: { int: -1 } },
    outputs: [turning, newValues],
  });
  const turned = graph.op("RotaryEmbedding", [turning, segment.cosine, segment.sine], {
    attributes: { num_heads: { int: model.heads + model.kvHeads } },
  });
  const [queries, newKeys] = [graph.fresh("q"), graph.fresh("k")];
  graph.ops("Split", [turned, graph.int64s(queryWidth, keyWidth)], {
    attributes: { axis: { int: -1 } },
    outputs: [queries, newKeys],
  });
  segment.newKeys.push(newKeys);
  segment.newValues.push(newValues);
  const append = (past: string, fresh: string) =>
    graph.op("Concat", [graph.input(past, "float32", ["B", "P", keyWidth]), fresh], {
      attributes: { axis: { int: 1 } },
    });
  const keys = append(`past_k.${layer}`, newKeys); // [B, P+T, Hkv·Dh]
  const allValues = append(`past_v.${layer}`, newValues);
  segment.mask ??= causalMask(graph, keys, segment.ids);
  const attended = graph.op("Attention", [queries, keys, allValues, segment.mask], {
    attributes: { q_num_heads: { int: model.heads }, kv_num_heads: { int: model.kvHeads } },
  });
  const values = `model.layers.${layer}.self_attn.v_proj`;
  const weights = source.tensor(`${values}.weight`, [keyWidth, model.hiddenSize]);
  const biases = model.attentionBias ? source.tensor(`${values}.bias`, [keyWidth]) : new Float32Array(keyWidth);
  return project(builder, attended, layer, [["self_attn.o_proj", model.hiddenSize]], {
    inputs: queryWidth,
    bias: model.attentionBias,
    limit: valueLimit(limit, weights, biases),
  });
}

/** down(SiLU(gate(x)) · up(x)). @param values float32 [B, T, d]. @returns float32 [B, T, d]. */
function feedForward(builder: Builder, layer: number, values: string): string {
  const { graph, model } = builder;
  const width = model.feedForward;
  const joined = project(
    builder,
    values,
    layer,
    [
      ["mlp.gate_proj", width],
      ["mlp.up_proj", width],
    ],
    { inputs: model.hiddenSize, bias: model.mlpBias },
  );
  const [gate, up] = [graph.fresh("gate"), graph.fresh("up")];
  graph.ops("Split", [joined], {
    attributes: { axis: { int: -1 }, num_outputs: { int: 2 } },
    outputs: [gate, up],
  });
  const activated = graph.op("QuickGelu", [gate], {
    domain: MICROSOFT,
    attributes: { alpha: { float: SILU_ALPHA } },
  });
  return project(builder, graph.op("Mul", [activated, up]), layer, [["mlp.down_proj", model.hiddenSize]], {
    inputs: width,
    bias: model.mlpBias,
    outliers: true,
  });
}
