/**
 * Products of 8-bit weights and 8-bit activations, both uint8 with zero point 128 (int8 weights saturate
 * silently on x64 without VNNI). A weight's scale is its output channel's largest magnitude / 127, an
 * activation's that of its own row, or a bound of all rows: what a token becomes never depends on the tokens beside it.
 */
import { MAX_FILE_BYTES } from "./onnx/weights.ts";
import { MICROSOFT, type GraphBuilder } from "./onnx/graph.ts";
import { blockOf, hadamard, rotated } from "./hadamard.ts";
import type { Matrix, Pieces } from "./matrix.ts";
import { gatherColumns, joinPieces, type Numerics, type StoredMatrix } from "./numerics.ts";
import { once } from "./once.ts";

export const ZERO_POINT = 128;
/** Steps on either side of the zero point; 0 is not used, so that the range is symmetric. */
export const STEPS = 127;
/** Steps of a fine operand's second digit in one of its first. */
const FINE_STEPS = 2 * STEPS;
/**
 * Columns of a piece, at most. The kernels walk down columns: wider rows cost more address translation
 * (14 M weights in Node: 0.50 ms at 4,160 columns, 1.06 ms at 24,608).
 */
const WIDEST = 4160;
/**
 * Rows of a multiple of this many bytes fall on each other in the cache (14 M weights in WebAssembly: 2.5 ms at
 * 24,640, 8,256 or 1,024 columns, 4.3 ms at 2,048, 6.4 ms at 4,096 or 24,576).
 */
const COLLIDING_BYTES = 2048;
/** Pieces start at multiples of a cache line. */
const LINE_BYTES = 64;
/** Rows quantised before they are written as columns: 64 of them fill a cache line of the result. */
const ROWS_AT_ONCE = 64;

/** Pieces that the kernels read fast; a uint8 weight is a byte, so columns are bytes. */
export function piecesOf({ inputs, outputs }: Matrix): Pieces {
  const fits = Math.min(WIDEST, Math.floor(MAX_FILE_BYTES / inputs / LINE_BYTES) * LINE_BYTES);
  if (fits === 0) throw new Error(`columns of ${inputs} weights do not fit a file of ${MAX_FILE_BYTES} bytes`);
  const single = outputs <= fits && outputs % COLLIDING_BYTES !== 0;
  if (single) return [[0, outputs]];
  const number = Math.max(2, Math.ceil(outputs / fits));
  let width = Math.ceil(outputs / number / LINE_BYTES) * LINE_BYTES;
  if (width % COLLIDING_BYTES === 0) width += width + LINE_BYTES <= fits ? LINE_BYTES : -LINE_BYTES;
  const starts = Array.from({ length: Math.ceil(outputs / width) }, (_, i) => i * width);
  return starts.map((from) => [from, Math.min(from + width, outputs)]);
}

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

/** Largest magnitude of each row: float32 [B, T, 1]. */
export function rowMagnitude(graph: GraphBuilder, values: string): string {
  const absolute = graph.op("Abs", [values]);
  return graph.op("ReduceMax", [absolute, graph.int64s(-1)], { attributes: { keepdims: { int: 1 } } });
}

/** Products of both digits of `fineOperand`, [B, 2·T, N] → [B, T, N]. */
function addDigits(graph: GraphBuilder, products: string): string {
  const [coarse, fine] = [graph.fresh("coarse"), graph.fresh("fine")];
  graph.ops("Split", [products], {
    attributes: { axis: { int: 1 }, num_outputs: { int: 2 } },
    outputs: [coarse, fine],
  });
  return graph.op("Add", [coarse, graph.op("Mul", [fine, graph.float(1 / FINE_STEPS)])]);
}

export const w8a8: Numerics = {
  name: "w8a8",

  store(graph, name, matrix) {
    const stored = piecesOf(matrix).map(([from, to], i) => {
      const quantised = once(() => quantise(matrix, from, to));
      // Activations are held as value / magnitude · 127: their 1/127 goes into the weights' scales.
      const factors = () => quantised().scales.map((scale) => scale / STEPS);
      return {
        from,
        to,
        weights: graph.weight(`${name}.${i}`, "uint8", [matrix.inputs, to - from], () => quantised().weights),
        scales: graph.weight(`${name}.${i}.scales`, "float32", [to - from], factors),
      };
    });
    return { outputs: matrix.outputs, pieces: stored };
  },

  // A row of zeros divides 0 by 0; whatever integer that becomes, its product is multiplied by magnitude 0.
  operand(graph, values) {
    const scale = rowMagnitude(graph, values); // [B, T, 1]
    const unit = graph.op("Div", [values, scale]); // −1 … 1
    const quantised = graph.op("QuantizeLinear", [unit, graph.float(1 / STEPS), graph.uint8(ZERO_POINT)]);
    return { values: quantised, scale };
  },

  // With a limit steps are the same for every row, and none is searched for its largest value: what a limit far above it
  // takes from the first digit, the second gives back many times.
  fineOperand(graph, values, most) {
    const limit = most === 0 ? 1 : most; // 0: all values are
    const scale = limit === undefined ? rowMagnitude(graph, values) : ""; // [B, T, 1]
    const within = limit === undefined ? graph.op("Div", [values, scale]) : values;
    const [step, zero] = [(limit ?? 1) / STEPS, graph.uint8(ZERO_POINT)];
    const coarse = graph.op("QuantizeLinear", [within, graph.float(step), zero]);
    const rounded = graph.op("DequantizeLinear", [coarse, graph.float(step), zero]);
    const rest = graph.op("Sub", [within, rounded]); // half a step on either side
    const fine = graph.op("QuantizeLinear", [rest, graph.float(step / FINE_STEPS), zero]);
    const digits = graph.op("Concat", [coarse, fine], { attributes: { axis: { int: 1 } } }); // [B, 2·T, K]
    return { values: digits, scale, limit, fine: true };
  },

  spread(graph, values, matrix) {
    const block = blockOf(matrix.inputs);
    const turn = graph.shared(`hadamard.${block}`, "float32", [block, block], () => hadamard(block));
    const blocks = graph.op("Reshape", [values, graph.int64s(0, 0, -1, block)]); // [B, T, K/block, block]
    const turned = graph.op("MatMul", [blocks, turn]);
    const whole = graph.op("Reshape", [turned, graph.int64s(0, 0, matrix.inputs)]);
    return { values: whole, matrix: rotated(matrix) };
  },

  product(graph, operand, matrix) {
    const [zero, limit] = [graph.uint8(ZERO_POINT), graph.float(operand.limit ?? 1)];
    const parts = matrix.pieces.map((piece) =>
      graph.op("MatMulIntegerToFloat", [operand.values, piece.weights, limit, piece.scales, zero, zero], {
        domain: MICROSOFT,
      }),
    );
    const digits = joinPieces(graph, parts);
    const whole = operand.fine === true ? addDigits(graph, digits) : digits;
    return operand.scale === "" ? whole : graph.op("Mul", [whole, operand.scale]);
  },

  vocabulary(graph, name, matrix) {
    const stored = w8a8.store(graph, name, matrix);
    return {
      embed(ids) {
        const columns = gatherColumns(graph, stored, ids, "uint8"); // [K, B, T]
        const rows = graph.op("Transpose", [columns], { attributes: { perm: { ints: [1, 2, 0] } } });
        return dequantised(graph, rows, graph.op("Gather", [allScales(graph, stored), ids]));
      },
      score: (values) => w8a8.product(graph, w8a8.operand(graph, values), stored),
    };
  },
};

/** Factors of all columns, [N]. */
export function allScales(graph: GraphBuilder, { pieces }: StoredMatrix): string {
  return joinPieces(
    graph,
    pieces.map(({ scales }) => scales),
  );
}

/**
 * Weights as numbers: float32 [B, T, K].
 * @param weights uint8 [B, T, K].
 * @param scales their factors as they are stored, [B, T].
 */
export function dequantised(graph: GraphBuilder, weights: string, scales: string): string {
  // The scales carry the activations' 1/127 (see `store`): dequantise by 127 to take it out.
  const steps = graph.op("DequantizeLinear", [weights, graph.float(STEPS), graph.uint8(ZERO_POINT)]);
  return graph.op("Mul", [steps, graph.op("Unsqueeze", [scales, graph.int64s(2)])]);
}
