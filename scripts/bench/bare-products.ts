/**
 * Baseline of the edge benchmark: a model's W8A8 matrix products and nothing else. What decoding costs beyond
 * them is what normalisation, attention, quantisation and the runtime's overhead cost.
 */
import { GraphBuilder } from "../export/onnx/graph.ts";
import type { WeightFiles } from "../export/onnx/weights.ts";
import type { Matrix } from "../export/matrix.ts";
import { piecesOf, quantise, ZERO_POINT } from "../export/w8a8.ts";

/**
 * Inputs: `values.K` uint8 [T, K] for every distinct K. Output: `products` int32 [T, Σ N], joined so that
 * the runtime hands one tensor back.
 */
export function bareProductsGraph(matrices: readonly Matrix[], weights: WeightFiles): Uint8Array {
  const graph = new GraphBuilder("bare products", weights);
  const inputs = new Map<number, string>();
  for (const { inputs: k } of matrices) {
    if (!inputs.has(k)) inputs.set(k, graph.input(`values.${k}`, "uint8", ["T", k]));
  }
  const zero = graph.uint8(ZERO_POINT);
  const products = matrices.flatMap((matrix, i) =>
    piecesOf(matrix).map(([from, to]) => {
      const name = graph.weight(
        `${i}.${from}`,
        "uint8",
        [matrix.inputs, to - from],
        quantise(matrix, from, to).weights,
      );
      return graph.op("MatMulInteger", [inputs.get(matrix.inputs)!, name, zero, zero]);
    }),
  );
  graph.op("Concat", products, { attributes: { axis: { int: -1 } }, outputs: ["products"] });
  graph.output("products", "int32", ["T", matrices.reduce((sum, { outputs }) => sum + outputs, 0)]);
  return graph.finish();
}
