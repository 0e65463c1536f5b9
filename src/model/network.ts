/** The network as the engine runs it, however its graphs are cut into sessions: what the two cuts share. */
import type { Bundle } from "./bundle.ts";
import { release } from "./release.ts";
import type { GraphSession, GraphTensor, GraphTensors } from "./runtime.ts";
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
export function idsOf(session: GraphSession, sequence: Sequence, { start, end }: Span): GraphTensor {
  const ids = BigInt64Array.from({ length: end - start }, (_, at) => BigInt(sequence.tokenAt(start + at)));
  return session.tensor(ids, [B, ids.length]);
}

/** `[N, d]` as `[B, N, d]`. */
export function rowsOf(session: GraphSession, hidden: Float32Array, width: number): GraphTensor {
  return session.tensor(hidden, [B, hidden.length / width, width]);
}

/** A span's positions, int64 `[B, T]`. */
export function positionsOf(session: GraphSession, { start, end }: Span): GraphTensor {
  const positions = BigInt64Array.from({ length: end - start }, (_, at) => BigInt(start + at));
  return session.tensor(positions, [B, positions.length]);
}

/** A layer's index in the model, from 0, and the names of the inputs that take what it made so far. */
export interface LayerInputs {
  readonly layer: number;
  readonly keys: string;
  readonly values: string;
}

/** The layers of a segment. */
export function layersOf({ segments }: Bundle, segment: number): LayerInputs[] {
  const { first_layer, last_layer } = segments[segment] ?? { first_layer: 1, last_layer: 0 };
  return Array.from({ length: last_layer - first_layer + 1 }, (_, at) => {
    const layer = first_layer - 1 + at;
    return { layer, keys: `past_k.${layer}`, values: `past_v.${layer}` };
  });
}

/** Adds the keys and values that a segment has made so far to the inputs of a run, `[B, P, Hkv·Dh]` each. */
export function addPast(
  inputs: Record<string, GraphTensor>,
  session: GraphSession,
  sequence: Sequence,
  segment: number,
  layers: readonly LayerInputs[],
): void {
  const { kv_heads, head_dim } = sequence.bundle.shape;
  const dims = [B, sequence.computed(segment), kv_heads * head_dim];
  for (const { layer, keys, values } of layers) {
    const past = sequence.past(segment, layer);
    inputs[keys] = session.tensor(past.keys, dims);
    inputs[values] = session.tensor(past.values, dims);
  }
}

/**
 * Stores what a segment made of the next `tokens` positions: its outputs `hidden`, `[B, T, d]`, and `state`, keys and
 * values of every layer, `[2·layers, T, Hkv·Dh]`. They are released.
 */
export function storeMade(
  sequence: Sequence,
  segment: number,
  tokens: number,
  outputs: GraphTensors,
  { hidden, state }: { readonly hidden: string; readonly state: string },
): void {
  const { data, dims } = floats(outputs, state);
  const rows = floats(outputs, hidden).data;
  const parts = dims[0] ?? 0;
  const size = data.length / parts;
  const part = (at: number): Float32Array => data.subarray(at * size, (at + 1) * size);
  const layers = Array.from({ length: parts / 2 }, (_, at) => at);
  const made = { hidden: rows, keys: layers.map(part), values: layers.map((at) => part(at + parts / 2)) };
  sequence.store(segment, tokens, made);
  release(data);
  release(rows);
}

/** @throws TypeError where there is no such output of float32. */
export function floats(outputs: GraphTensors, name: string): { data: Float32Array; dims: readonly number[] } {
  const output = outputs[name];
  if (output?.data instanceof Float32Array) return { data: output.data, dims: output.dims };
  throw new TypeError(`the graph has no float32 output ${name}`);
}
