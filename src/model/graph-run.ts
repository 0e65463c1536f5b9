/** Single runs of a bundle's graphs: what their inputs and outputs are called and shaped is known here only. */
import type { GraphSession, GraphTensor, GraphTensors } from "./runtime.ts";
import type { Sequence } from "./sequence.ts";

/** Batch of every run: sequences have different lengths, so each runs alone. */
const B = 1;

/** Embeddings of positions start..end-1, `[T, d]`. The half of the rim that is not wanted gets no rows. */
export async function embed(rim: GraphSession, sequence: Sequence, start: number, end: number): Promise<Float32Array> {
  const ids = BigInt64Array.from({ length: end - start }, (_, at) => BigInt(sequence.tokenAt(start + at)));
  const outputs = await rim.run({
    input_ids: { data: ids, dims: [B, ids.length] },
    hidden_state: { data: new Float32Array(0), dims: [B, 0, sequence.bundle.shape.hidden_size] },
  });
  return float32(outputs, "embedding");
}

/** Logits `[N, V]` of hidden states `[N, d]`, d = `width`. */
export async function head(rim: GraphSession, hidden: Float32Array, width: number): Promise<Float32Array> {
  const outputs = await rim.run({
    input_ids: { data: new BigInt64Array(0), dims: [B, 0] },
    hidden_state: { data: hidden, dims: [B, hidden.length / width, width] },
  });
  return float32(outputs, "logits");
}

/** Positions start..end-1, and their hidden states below the segment, `[T, d]`. */
export interface Chunk {
  readonly start: number;
  readonly end: number;
  readonly hidden: Float32Array;
}

/** Runs one segment over a chunk that follows what the sequence holds of it, and stores the result there. */
export async function runSegment(
  session: GraphSession,
  sequence: Sequence,
  segment: number,
  { start, end, hidden }: Chunk,
): Promise<void> {
  const { shape, segments } = sequence.bundle;
  const { first_layer, last_layer } = segments[segment] ?? { first_layer: 1, last_layer: 0 };
  const layers = Array.from({ length: last_layer - first_layer + 1 }, (_, at) => first_layer - 1 + at);
  const tokens = end - start;
  const pastDims = [B, start, shape.kv_heads * shape.head_dim]; // [B, P, Hkv·Dh]
  const inputs: Record<string, GraphTensor> = {
    hidden_state: { data: hidden, dims: [B, tokens, shape.hidden_size] },
    position_ids: { data: BigInt64Array.from({ length: tokens }, (_, at) => BigInt(start + at)), dims: [B, tokens] },
  };
  for (const layer of layers) {
    const { keys, values } = sequence.past(segment, layer);
    inputs[`past_k.${layer}`] = { data: keys, dims: pastDims };
    inputs[`past_v.${layer}`] = { data: values, dims: pastDims };
  }
  const outputs = await session.run(inputs);
  sequence.store(segment, tokens, {
    hidden: float32(outputs, "hidden_state_out"),
    keys: layers.map((layer) => float32(outputs, `new_k.${layer}`)),
    values: layers.map((layer) => float32(outputs, `new_v.${layer}`)),
  });
}

function float32(outputs: GraphTensors, name: string): Float32Array {
  const data = outputs[name]?.data;
  if (data instanceof Float32Array) return data;
  throw new TypeError(`the graph has no float32 output ${name}`);
}
