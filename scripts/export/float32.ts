/** Products in float32: the reference. */
import { MAX_FILE_BYTES } from "./onnx/weights.ts";
import { pieces } from "./matrix.ts";
import { joinPieces, lookupPieces, type Numerics } from "./numerics.ts";

const BYTES = 4;

export const float32: Numerics = {
  name: "fp32",

  store(graph, name, matrix) {
    const stored = pieces(matrix, BYTES, MAX_FILE_BYTES).map(([from, to], i) => {
      const width = to - from;
      const rows = matrix.rows(from, to); // [width, K]
      const columns = new Float32Array(rows.length); // [K, width]
      for (let n = 0; n < width; n++) {
        for (let k = 0; k < matrix.inputs; k++) columns[k * width + n] = rows[n * matrix.inputs + k]!;
      }
      const weights = graph.weight(`${name}.${i}`, "float32", [matrix.inputs, width], columns);
      return { from, to, weights, scales: "" };
    });
    return { outputs: matrix.outputs, pieces: stored };
  },

  operand: (_graph, values) => ({ values, scale: "" }),

  product: (graph, operand, matrix) =>
    joinPieces(
      graph,
      matrix.pieces.map((piece) => graph.op("MatMul", [operand.values, piece.weights])),
    ),

  columns: (graph, matrix, ids) =>
    lookupPieces(graph, matrix, ids, (piece, local) => {
      const columns = graph.op("Gather", [piece.weights, local], { attributes: { axis: { int: 1 } } }); // [K, B, T]
      return graph.op("Transpose", [columns], { attributes: { perm: { ints: [1, 2, 0] } } });
    }),
};
