/** How a graph multiplies by a weight matrix: the choice between float32 and 8-bit integers, made in one place. */
import type { GraphBuilder } from "./onnx/graph.ts";
import type { ElementType } from "./onnx/proto.ts";
import type { Matrix } from "./matrix.ts";

/** A matrix inside a graph, [K, N] cut by columns into pieces that fit a file each. */
export interface StoredMatrix {
  readonly outputs: number;
  readonly pieces: readonly {
    /** Columns of the piece. */
    readonly from: number;
    readonly to: number;
    /** Name of the weights, [K, to − from]. */
    readonly weights: string;
    /** Name of the factors per column, [to − from]; `""` where the weights are plain numbers. */
    readonly scales: string;
  }[];
}

type StoredPieces = StoredMatrix["pieces"];

/** Activations made ready once for every product that reads them. */
export interface Operand {
  /** Name of the values, [B, T, K]. */
  readonly values: string;
  /** Name of the factor per row, [B, T, 1]; `""` where there is none. */
  readonly scale: string;
  /** What values were divided by, the same for all rows; default 1. */
  readonly limit?: number | undefined;
  /** Whether each row is two digits: values are [B, 2·T, K], the second digits behind the first. */
  readonly fine?: boolean;
}

export interface Numerics {
  readonly name: "fp32" | "w8a8";
  /** Writes the matrix to the graph's weight files. */
  store(graph: GraphBuilder, name: string, matrix: Matrix): StoredMatrix;
  /** @param values float32 [B, T, K], T at least 1. */
  operand(graph: GraphBuilder, values: string): Operand;
  /**
   * As `operand`, with smaller steps.
   *
   * @param values float32 [B, T, K], T at least 1.
   * @param limit magnitude that no value exceeds; undefined: each row's own is looked for.
   */
  fineOperand(graph: GraphBuilder, values: string, limit: number | undefined): Operand;
  /**
   * Makes activations with outliers ready for `operand`, and the matrix that reads them for `store`.
   * @param values float32 [B, T, K], T at least 1.
   */
  spread(graph: GraphBuilder, values: string, matrix: Matrix): { values: string; matrix: Matrix };
  /** Activations times weights: float32 [B, T, N]. */
  product(graph: GraphBuilder, operand: Operand, matrix: StoredMatrix): string;
  /** Writes a matrix [K, V], a column an id of the vocabulary, to the graph's weight files. */
  vocabulary(graph: GraphBuilder, name: string, matrix: Matrix): Vocabulary;
}

/** What is built of a vocabulary's matrix, inside a branch too. */
export interface Vocabulary {
  /** The columns of `ids`, int64 [B, T], as float32 [B, T, K]. */
  embed(ids: string): string;
  /** Float32 [B, N, K], N at least 1, times the matrix: float32 [B, N, V]. */
  score(values: string): string;
}

/** Joins pieces along the output channels, their last axis. */
export function joinPieces(graph: GraphBuilder, parts: readonly string[]): string {
  if (parts.length === 1) return parts[0]!;
  return graph.op("Concat", parts, { attributes: { axis: { int: -1 } } });
}

const AXIS = { attributes: { axis: { int: 1 } } };

/** The columns `ids` of a matrix as they are stored, [K, B, T] of `type`. @param ids int64 [B, T]. */
export function gatherColumns(graph: GraphBuilder, { pieces }: StoredMatrix, ids: string, type: ElementType): string {
  if (pieces.length === 1) return graph.op("Gather", [pieces[0]!.weights, ids], AXIS);
  const single = graph.op("Equal", [graph.op("Size", [ids]), graph.int64(1)]);
  return graph.either(
    single,
    { type, dims: ["K", "B", "T"] },
    () => gatherOne(graph, pieces, ids, graph.op("Squeeze", [ids]), type),
    () => gatherAll(graph, pieces, ids),
  );
}

/** Only the piece that holds the id is read: each other one would cost a cache miss for every row of it. */
function gatherOne(graph: GraphBuilder, pieces: StoredPieces, ids: string, id: string, type: ElementType): string {
  const half = pieces.length >> 1;
  if (half === 0) {
    const { from, weights } = pieces[0]!;
    return graph.op("Gather", [weights, from === 0 ? ids : graph.op("Sub", [ids, graph.int64(from)])], AXIS);
  }
  const lower = graph.op("Less", [id, graph.int64(pieces[half]!.from)]);
  const among = (part: StoredPieces) => () => gatherOne(graph, part, ids, id, type);
  return graph.either(lower, { type, dims: ["K", "B", "T"] }, among(pieces.slice(0, half)), among(pieces.slice(half)));
}

/** Every piece answers for all ids (clamped into it), and the answer of the piece that holds the id is kept. */
function gatherAll(graph: GraphBuilder, pieces: StoredPieces, ids: string): string {
  const answers = pieces.map((piece) => {
    const shifted = piece.from === 0 ? ids : graph.op("Sub", [ids, graph.int64(piece.from)]);
    const within = graph.op("Clip", [shifted, graph.int64(0), graph.int64(piece.to - piece.from - 1)]);
    return graph.op("Gather", [piece.weights, within], AXIS); // [K, B, T]
  });
  return answers.reduce((lower, answer, i) =>
    graph.op("Where", [graph.op("Less", [ids, graph.int64(pieces[i]!.from)]), lower, answer]),
  );
}
