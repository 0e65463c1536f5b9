/**
 * W8A8 as the graph of the whole network has it, which the native runtime runs. There a product with rows of weights
 * (`MatMulNBits`, 8 bits, accuracy_level 4) reads them a third faster than one with columns (docs/log.md, "The vocabulary
 * by rows"), and a row is looked up at once; WebAssembly takes twelve times as long. So the vocabulary's matrix, the
 * largest of a small model, lies in rows here. They are made of the columns in the weight files when a session is opened:
 * everything between is constant.
 *
 * That product quantises activations in blocks, each by its own largest magnitude. Every block therefore ends with the
 * magnitude of the whole row, for which its weights are zero: the steps are those of `w8a8`, and so are the results but for
 * the rounding of floats. Were they others, the two tiers would round independently, and more near-ties would flip.
 */
import { type GraphBuilder, MICROSOFT } from "./onnx/graph.ts";
import { joinPieces, type Numerics, type StoredMatrix } from "./numerics.ts";
import { allScales, dequantised, rowMagnitude, STEPS, w8a8, ZERO_POINT } from "./w8a8.ts";

/** Values of a block: 127 activations and the row's magnitude. The operator takes powers of two up to 256. */
const BLOCK = 128;
const BITS = 8;
/** Activations as 8-bit integers. */
const ACCURACY = 4;

export const w8a8Whole: Numerics = {
  ...w8a8,

  vocabulary(graph, name, matrix) {
    const stored = w8a8.store(graph, name, matrix);
    const layout = blocksOf(matrix.inputs);
    const rows = rowsOf(graph, stored, layout);
    const scales = allScales(graph, stored); // [V]
    const repeated = blockScales(graph, scales, [matrix.outputs, layout.blocks]);
    return {
      embed(ids) {
        const blocks = graph.op("Gather", [rows, ids]); // [B, T, blocks, BLOCK]
        const spaced = graph.op("Reshape", [blocks, graph.int64s(0, 0, layout.sources.length)]);
        const weights = graph.op("Gather", [spaced, graph.int64s(...layout.places)], LAST); // [B, T, K]
        return dequantised(graph, weights, graph.op("Gather", [scales, ids]));
      },
      score(values) {
        const both = graph.op("Concat", [values, rowMagnitude(graph, values)], LAST); // [B, N, K + 1]
        const spaced = graph.op("Gather", [both, graph.int64s(...layout.sources)], LAST);
        return graph.op("MatMulNBits", [spaced, rows, repeated], {
          domain: MICROSOFT,
          attributes: {
            K: { int: layout.sources.length },
            N: { int: matrix.outputs },
            bits: { int: BITS },
            block_size: { int: BLOCK },
            accuracy_level: { int: ACCURACY },
          },
        });
      },
    };
  },
};

const LAST = { attributes: { axis: { int: -1 } } };

/** How K values lie in blocks. */
interface Blocks {
  readonly blocks: number;
  /** For every place of all blocks the value that lies there; K: the row's magnitude. */
  readonly sources: readonly number[];
  /** For every value its place. */
  readonly places: readonly number[];
}

/** The layout of so many values. */
export function blocksOf(inputs: number): Blocks {
  const held = BLOCK - 1;
  const blocks = Math.ceil(inputs / held);
  const sources = Array.from({ length: blocks * BLOCK }, (_, at) => {
    const value = Math.floor(at / BLOCK) * held + (at % BLOCK);
    return at % BLOCK === held ? inputs : Math.min(value, inputs);
  });
  const places = Array.from({ length: inputs }, (_, value) => Math.floor(value / held) * BLOCK + (value % held));
  return { blocks, sources, places };
}

/** Columns [K, V] as rows in blocks, uint8 [V, blocks, BLOCK]; weights of magnitudes are zero. */
function rowsOf(graph: GraphBuilder, { pieces }: StoredMatrix, { blocks, sources }: Blocks): string {
  const columns = joinPieces(
    graph,
    pieces.map(({ weights }) => weights),
  );
  const padded = graph.op("Pad", [columns, graph.int64s(0, 0, 1, 0), graph.uint8(ZERO_POINT)]); // [K + 1, V]
  const spaced = graph.op("Gather", [padded, graph.int64s(...sources)]); // [blocks · BLOCK, V]
  return graph.op("Reshape", [graph.op("Transpose", [spaced]), graph.int64s(0, blocks, BLOCK)]);
}

/** A factor a block, [V · blocks]. @param scales as they are stored: the activations' 1/127 is taken out. */
function blockScales(graph: GraphBuilder, scales: string, dims: readonly [outputs: number, blocks: number]): string {
  const column = graph.op("Unsqueeze", [graph.op("Mul", [scales, graph.float(STEPS)]), graph.int64s(1)]);
  return graph.op("Reshape", [graph.op("Expand", [column, graph.int64s(...dims)]), graph.int64s(-1)]);
}
