/**
 * Baseline of the edge benchmark: a model's W8A8 matrix products and nothing else. What decoding costs beyond
 * them is what normalisation, attention, quantisation and the runtime's overhead cost.
 */
import { GraphBuilder } from "../export/onnx/graph.ts";
import type { WeightFiles } from "../export/onnx/weights.ts";
import type { Matrix } from "../export/matrix.ts";
import { piecesOf, quantise, ZERO_POINT } from "../export/w8a8.ts";

/** ONNX's codes for element types. */
const [FLOAT32, UINT8] = [1, 2];

/**
 * Inputs: `values.K` float32 [T, K] for every distinct K, cast to uint8 once. Output: `products` float32 [T, 1], the
 * first of all products: they are joined so that none is left out, and handing them back is not part of the timing.
 */
export function bareProductsGraph(matrices: readonly Matrix[], weights: WeightFiles): Uint8Array {
  const graph = new GraphBuilder("bare products", weights);
  const inputs = new Map<number, string>();
  for (const { inputs: k } of matrices) {
    if (inputs.has(k)) continue;
    const values = graph.input(`values.${k}`, "float32", ["T", k]);
    inputs.set(k, graph.op("Cast", [values], { attributes: { to: { int: UINT8 } } }));
  }
  const zero = graph.uint8(ZERO_POINT);
  const products = matrices.flatMap((matrix, i) =>
    piecesOf(matrix).map(([from, to]) => {
      const name = graph.weight(
        `${i}.${from}`,
        "uint8",
        [matrix.inputs, to - from],
        () => quantise(matrix, from, to).weights,
      );
      return graph.op("MatMulInteger", [inputs.get(matrix.inputs)!, name, zero, zero]);
    }),
  );
  const joined = graph.op("Concat", products, { attributes: { axis: { int: -1 } } }); // int32 [T, Σ N]
  const first = graph.op("Slice", [joined, graph.int64s(0), graph.int64s(1), graph.int64s(-1)]);
  graph.op("Cast", [first], { attributes: { to: { int: FLOAT32 } }, outputs: ["products"] });
  graph.output("products", "float32", ["T", 1]);
  return graph.finish();
}
