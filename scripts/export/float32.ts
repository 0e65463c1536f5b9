/** Products in float32: the reference. */
import { MAX_FILE_BYTES } from "./onnx/weights.ts";
import { cut } from "./matrix.ts";
import { gatherColumns, joinPieces, type Numerics } from "./numerics.ts";

const BYTES = 4;

export const float32: Numerics = {
  name: "fp32",

  store(graph, name, matrix) {
    const stored = cut(matrix.outputs, Math.floor(MAX_FILE_BYTES / (matrix.inputs * BYTES))).map(([from, to], i) => {
      const width = to - from;
      const columns = () => {
        const rows = matrix.rows(from, to); // [width, K]
        const turned = new Float32Array(rows.length); // [K, width]
        for (let n = 0; n < width; n++) {
          for (let k = 0; k < matrix.inputs; k++) turned[k * width + n] = rows[n * matrix.inputs + k]!;
        }
        return turned;
      };
      const weights = graph.weight(`${name}.${i}`, "float32", [matrix.inputs, width], columns);
      return { from, to, weights, scales: "" };
    });
    return { outputs: matrix.outputs, pieces: stored };
  },

  operand: (_graph, values) => ({ values, scale: "" }),

  fineOperand: (_graph, values) => ({ values, scale: "" }),

  spread: (_graph, values, matrix) => ({ values, matrix }),

  product: (graph, operand, matrix) =>
    joinPieces(
      graph,
      matrix.pieces.map((piece) => graph.op("MatMul", [operand.values, piece.weights])),
    ),

  vocabulary(graph, name, matrix) {
    const stored = float32.store(graph, name, matrix);
    return {
      embed: (ids) =>
        graph.op("Transpose", [gatherColumns(graph, stored, ids, "float32")], {
          attributes: { perm: { ints: [1, 2, 0] } },
        }),
      score: (values) => float32.product(graph, float32.operand(graph, values), stored),
    };
  },
};
