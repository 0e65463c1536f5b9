/** Weight matrices as the checkpoint stores them: one row per output channel, read a few rows at a time. */
import type { Safetensors } from "./safetensors.ts";

export interface Matrix {
  /** Input channels (K). */
  readonly inputs: number;
  /** Output channels (N). */
  readonly outputs: number;
  /** Rows `from`…`to`-1: [to − from, K], row-major. */
  rows(from: number, to: number): Float32Array;
}

/** A tensor [N, K] of the checkpoint. @throws from `rows` when it is missing or of another shape. */
export function tensorMatrix(source: Safetensors, name: string, outputs: number, inputs: number): Matrix {
  return { inputs, outputs, rows: (from, to) => source.rows(name, [outputs, inputs], from, to) };
}

/** Matrices that read the same input, one above the other: their products become one product. */
export function stack(parts: readonly Matrix[]): Matrix {
  const { inputs } = parts[0]!;
  return {
    inputs,
    outputs: parts.reduce((sum, part) => sum + part.outputs, 0),
    rows(from, to) {
      const result = new Float32Array((to - from) * inputs);
      let start = 0; // first row of the part within the stack
      for (const part of parts) {
        const first = Math.max(from, start);
        const end = Math.min(to, start + part.outputs);
        if (first < end) result.set(part.rows(first - start, end - start), (first - from) * inputs);
        start += part.outputs;
      }
      return result;
    },
  };
}

/** Columns `from`…`to`-1 of each piece of a matrix. */
export type Pieces = readonly (readonly [from: number, to: number])[];

/**
 * Cuts `outputs` columns into pieces of nearly equal width.
 * @param widest columns of a piece, at most; @throws when that is none.
 */
export function cut(outputs: number, widest: number): Pieces {
  if (widest < 1) throw new Error("one column of weights exceeds the largest file");
  const number = Math.ceil(outputs / widest);
  const edge = (i: number) => Math.round((i * outputs) / number);
  return Array.from({ length: number }, (_, i) => [edge(i), edge(i + 1)] as const);
}
