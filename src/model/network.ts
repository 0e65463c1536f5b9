/** The network as the engine runs it, however its graphs are cut into sessions: what the two cuts share. */
import type { Bundle } from "./bundle.ts";
import type { GraphTensor, GraphTensors } from "./runtime.ts";
import type { SegmentRows } from "./segment-state.ts";
import type { Sequence } from "./sequence.ts";

/** Batch of every run: sequences have different lengths, so each runs alone. */
export const B = 1;

/** Segments first..last (0-based) over positions start..end-1, of which all before `start` have gone through them. */
export interface Span {
  readonly first: number;
  readonly last: number;
  readonly start: number;
  readonly end: number;
}

export interface Network {
  /** Segments that can be run, from the first. */
  readonly depth: number;

  /**
   * Runs a span and stores what its segments made.
   *
   * @returns logits `[T, V]` of its positions after the last segment; null where they are not wanted.
   */
  run(sequence: Sequence, span: Span, wantsLogits: boolean): Promise<Float32Array | null>;

  /** Logits `[N, V]` of hidden states `[N, d]` after any segment. */
  head(hidden: Float32Array): Promise<Float32Array>;

  /** Frees every session. */
  dispose(): Promise<void>;
}

/** Ids of a span's positions, int64 `[B, T]`. */
export function idsOf(sequence: Sequence, { start, end }: Span): GraphTensor {
  const ids = BigInt64Array.from({ length: end - start }, (_, at) => BigInt(sequence.tokenAt(start + at)));
  return { data: ids, dims: [B, ids.length] };
}

/** Hidden states of a span's positions below its first segment, `[B, T, d]`; that segment is not the first of all. */
export function hiddenBelow(sequence: Sequence, { first, start, end }: Span): GraphTensor {
  return rowsOf(sequence.hidden(first - 1, start, end), sequence.bundle.shape.hidden_size);
}

/** `[N, d]` as `[B, N, d]`. */
export function rowsOf(hidden: Float32Array, width: number): GraphTensor {
  return { data: hidden, dims: [B, hidden.length / width, width] };
}

/** A span's positions, int64 `[B, T]`. */
export function positionsOf({ start, end }: Span): GraphTensor {
  const positions = BigInt64Array.from({ length: end - start }, (_, at) => BigInt(start + at));
  return { data: positions, dims: [B, positions.length] };
}

/** Indices of a segment's layers in the model, from 0. */
export function layersOf({ segments }: Bundle, segment: number): number[] {
  const { first_layer, last_layer } = segments[segment] ?? { first_layer: 1, last_layer: 0 };
  return Array.from({ length: last_layer - first_layer + 1 }, (_, at) => first_layer - 1 + at);
}

/** Keys and values that a segment has made so far: `past_k.i` and `past_v.i`, `[B, P, Hkv·Dh]`. */
export function pastOf(sequence: Sequence, segment: number): Record<string, GraphTensor> {
  const { kv_heads, head_dim } = sequence.bundle.shape;
  const dims = [B, sequence.computed(segment), kv_heads * head_dim];
  const inputs: Record<string, GraphTensor> = {};
  for (const layer of layersOf(sequence.bundle, segment)) {
    const { keys, values } = sequence.past(segment, layer);
    inputs[`past_k.${layer}`] = { data: keys, dims };
    inputs[`past_v.${layer}`] = { data: values, dims };
  }
  return inputs;
}

/** What a segment made, by the names of the outputs that hold it: hidden states and keys and values of every layer. */
export function madeRows(outputs: GraphTensors, hidden: string, state: string): SegmentRows {
  const { data, dims } = floats(outputs, state); // [2·layers, T, Hkv·Dh]
  const parts = dims[0] ?? 0;
  const size = data.length / parts;
  const part = (at: number): Float32Array => data.subarray(at * size, (at + 1) * size);
  const layers = Array.from({ length: parts / 2 }, (_, at) => at);
  return {
    hidden: floats(outputs, hidden).data,
    keys: layers.map(part),
    values: layers.map((at) => part(at + parts / 2)),
  };
}

/** @throws TypeError where there is no such output of float32. */
export function floats(outputs: GraphTensors, name: string): { data: Float32Array; dims: readonly number[] } {
  const output = outputs[name];
  if (output?.data instanceof Float32Array) return { data: output.data, dims: output.dims };
  throw new TypeError(`the graph has no float32 output ${name}`);
}
