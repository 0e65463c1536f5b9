/**
 * Products of 8-bit weights and 8-bit activations, both uint8 with zero point 128 (int8 weights saturate
 * silently on x64 without VNNI). A weight's scale is its output channel's largest magnitude / 127, an
 * activation's that of its own row: what a token becomes never depends on the tokens beside it.
 */
import { MAX_FILE_BYTES } from "./onnx/weights.ts";
import { MICROSOFT, type GraphBuilder } from "./onnx/graph.ts";
import { pieces, type Matrix } from "./matrix.ts";
import { joinPieces, lookupPieces, type Numerics } from "./numerics.ts";

export const ZERO_POINT = 128;
/** Steps on either side of the zero point; 0 is not used, so that the range is symmetric. */
const STEPS = 127;
const BYTES = 1;
/** Rows quantised before they are written as columns: 64 of them fill a cache line of the result. */
const ROWS_AT_ONCE = 64;

/** uint8 weights [K, N] and, per column, largest magnitude / 127. */
export interface QuantisedMatrix {
  readonly weights: Uint8Array;
  readonly scales: Float32Array;
}

/** Rows `from`…`to`-1 of the matrix, quantised per row and laid out as columns. */
export function quantise(matrix: Matrix, from: number, to: number): QuantisedMatrix {
  const { inputs } = matrix;
  const width = to - from;
  const weights = new Uint8Array(inputs * width);
  const scales = new Float32Array(width);
  for (let start = 0; start < width; start += ROWS_AT_ONCE) {
    const end = Math.min(start + ROWS_AT_ONCE, width);
    const rows = matrix.rows(from + start, from + end); // [end − start, K]
    for (let n = start; n < end; n++) {
      scales[n] = magnitude(rows.subarray((n - start) * inputs, (n - start + 1) * inputs)) / STEPS;
    }
    for (let k = 0; k < inputs; k++) {
      for (let n = start; n < end; n++) {
        const scale = scales[n]!;
        const steps = scale === 0 ? 0 : Math.round(rows[(n - start) * inputs + k]! / scale);
        weights[k * width + n] = ZERO_POINT + Math.max(-STEPS, Math.min(STEPS, steps));
      }
    }
  }
  return { weights, scales };
}

/** @throws when a weight is not finite. */
function magnitude(row: Float32Array): number {
  let largest = 0;
  for (const value of row) {
    if (!Number.isFinite(value)) throw new Error("a weight is not finite");
    largest = Math.max(largest, Math.abs(value));
  }
  return largest;
}

/** Largest magnitude of each row: float32 [..., 1]. */
function rowMagnitude(graph: GraphBuilder, values: string): string {
  const absolute = graph.op("Abs", [values]);
  const largest = graph.op("ReduceMax", [absolute, graph.int64s(-1)], { attributes: { keepdims: { int: 1 } } });
  // onnxruntime leaves the last axis as it is where there are no rows at all; this says again that it is 1.
  return graph.op("Reshape", [largest, graph.int64s(0, 0, 1)]);
}

export const w8a8: Numerics = {
  name: "w8a8",

  store(graph, name, matrix) {
    const stored = pieces(matrix, BYTES, MAX_FILE_BYTES).map(([from, to], i) => {
      const { weights, scales } = quantise(matrix, from, to);
      // Activations are held as value / magnitude · 127: their 1/127 goes into the weights' scales.
      const factors = scales.map((scale) => scale / STEPS);
      return {
        from,
        to,
        weights: graph.weight(`${name}.${i}`, "uint8", [matrix.inputs, to - from], weights),
        scales: graph.weight(`${name}.${i}.scales`, "float32", [to - from], factors),
      };
    });
    return { outputs: matrix.outputs, pieces: stored };
  },

  // A row of zeros divides 0 by 0; whatever integer that becomes, its product is multiplied by magnitude 0.
  operand(graph, values) {
    const scale = rowMagnitude(graph, values); // [..., 1]
    const unit = graph.op("Div", [values, scale]); // −1 … 1
    const quantised = graph.op("QuantizeLinear", [unit, graph.float(1 / STEPS), graph.uint8(ZERO_POINT)]);
    return { values: quantised, scale };
  },

  product(graph, operand, matrix) {
    const zero = graph.uint8(ZERO_POINT);
    const parts = matrix.pieces.map((piece) =>
      graph.op("MatMulIntegerToFloat", [operand.values, piece.weights, graph.float(1), piece.scales, zero, zero], {
        domain: MICROSOFT,
      }),
    );
    return graph.op("Mul", [joinPieces(graph, parts), operand.scale]);
  },

  columns: (graph, matrix, ids) =>
    lookupPieces(graph, matrix, ids, (piece, local) => {
      const columns = graph.op("Gather", [piece.weights, local], { attributes: { axis: { int: 1 } } }); // [K, B, T]
      const rows = graph.op("Transpose", [columns], { attributes: { perm: { ints: [1, 2, 0] } } });
      const centred = graph.op("DequantizeLinear", [rows, graph.float(STEPS), graph.uint8(ZERO_POINT)]);
      const scales = graph.op("Gather", [piece.scales, local]); // [B, T]
      return graph.op("Mul", [centred, graph.op("Unsqueeze", [scales, graph.int64s(2)])]);
    }),
};
