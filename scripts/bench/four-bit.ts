/**
 * Baseline of the edge benchmark: the same graphs with blockwise 4-bit weights (`MatMulNBits`), the form in which
 * most ONNX language models are published. For timing only; nothing serves it.
 */
import { cut, type Matrix } from "../export/matrix.ts";
import { gatherColumns, joinPieces, type Numerics, type StoredMatrix } from "../export/numerics.ts";
import { MICROSOFT, type GraphBuilder } from "../export/onnx/graph.ts";
import { MAX_FILE_BYTES } from "../export/onnx/weights.ts";
import { once } from "../export/once.ts";

const BITS = 4;
/** Weights that share a scale: what published models use. */
const BLOCK = 32;
/** Two weights share a byte. */
const BYTES = 0.5;
/** Unsigned 4-bit zero, the operator's default, and steps on either side of it. */
const ZERO_POINT = 8;
const STEPS = 7;

/** Blocks of rows `from`…`to`-1: values [N, K/32, 16], scales [N · K/32]. K must be a multiple of 32. */
function quantise(matrix: Matrix, from: number, to: number): { values: Uint8Array; scales: Float32Array } {
  const rows = matrix.rows(from, to);
  const values = new Uint8Array(rows.length * BYTES);
  const scales = new Float32Array(rows.length / BLOCK);
  for (let block = 0; block < scales.length; block++) {
    const weights = rows.subarray(block * BLOCK, (block + 1) * BLOCK);
    const scale = weights.reduce((most, weight) => Math.max(most, Math.abs(weight)), 0) / STEPS || 1;
    scales[block] = scale;
    for (const [i, weight] of weights.entries()) {
      const at = (block * BLOCK + i) >> 1;
      values[at] = values[at]! | ((Math.round(weight / scale) + ZERO_POINT) << (i % 2 === 0 ? 0 : BITS));
    }
  }
  return { values, scales };
}

/** A fresh one for every bundle: it remembers matrices in order to store them once more, as floats, for lookups. */
export function fourBit(): Numerics {
  const matrices = new Map<StoredMatrix, Matrix>();
  return {
    name: "fp32", // activations are float32; the bundle format knows no 4-bit numerics

    store(graph, name, matrix) {
      const widest = Math.floor(MAX_FILE_BYTES / (matrix.inputs * BYTES));
      const pieces = cut(matrix.outputs, widest).map(([from, to], i) => {
        const quantised = once(() => quantise(matrix, from, to));
        const dims = [to - from, matrix.inputs / BLOCK, BLOCK * BYTES];
        const weights = graph.weight(`${name}.${i}`, "uint8", dims, () => quantised().values);
        const blocks = ((to - from) * matrix.inputs) / BLOCK;
        const factors = graph.weight(`${name}.${i}.scales`, "float32", [blocks], () => quantised().scales);
        return { from, to, weights, scales: factors };
      });
      const stored = { outputs: matrix.outputs, pieces };
      matrices.set(stored, matrix);
      return stored;
    },

    operand: (_graph, values) => ({ values, scale: "" }),

    fineOperand: (_graph, values) => ({ values, scale: "" }),

    spread: (_graph, values, matrix) => ({ values, matrix }),

    product(graph, operand, stored) {
      const inputs = matrices.get(stored)!.inputs;
      const parts = stored.pieces.map(({ from, to, weights, scales }) =>
        graph.op("MatMulNBits", [operand.values, weights, scales], {
          domain: MICROSOFT,
          attributes: {
            K: { int: inputs },
            N: { int: to - from },
            bits: { int: BITS },
            block_size: { int: BLOCK },
          },
        }),
      );
      return joinPieces(graph, parts);
    },

    vocabulary(graph, name, matrix) {
      const stored = this.store(graph, name, matrix);
      return {
        embed: (ids) => lookup(graph, matrix, ids),
        score: (values) => this.product(graph, this.operand(graph, values), stored),
      };
    },
  };
}

/** Embeddings from 8-bit columns of their own: a product's 4-bit blocks cannot be looked up by token. */
function lookup(graph: GraphBuilder, matrix: Matrix, ids: string): string {
  const pieces = cut(matrix.outputs, Math.floor(MAX_FILE_BYTES / matrix.inputs)).map(([from, to], i) => {
    const values = () => new Uint8Array(matrix.inputs * (to - from));
    return { from, to, weights: graph.weight(`lookup.${i}`, "uint8", [matrix.inputs, to - from], values), scales: "" };
  });
  const columns = gatherColumns(graph, { outputs: matrix.outputs, pieces }, ids, "uint8"); // [K, B, T]
  const rows = graph.op("Transpose", [columns], { attributes: { perm: { ints: [1, 2, 0] } } });
  return graph.op("Cast", [rows], { attributes: { to: { int: 1 } } });
}
