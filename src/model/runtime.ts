/**
 * What the engine asks of an ONNX runtime: sessions over named tensors. Two files implement it, `runtime-web.ts`
 * (workerd) and `runtime-node.ts` (Node); unit tests bring their own.
 */

/** Elements of a tensor at the boundary of a graph: float32, int64 or, a byte each, bool. */
export type GraphData = Float32Array | BigInt64Array | Uint8Array;

export interface GraphTensor {
  readonly data: GraphData;
  readonly dims: readonly number[];
}

export type GraphTensors = Readonly<Record<string, GraphTensor>>;

/** One loaded graph. Runs on one session never overlap: the engine holds its step lock around each. */
export interface GraphSession {
  readonly inputNames: readonly string[];
  readonly outputNames: readonly string[];
  /**
   * A tensor in the runtime's own form, the one that `run` takes; it may be given to any number of runs. The caller owns
   * `data`; a run neither keeps nor changes it.
   */
  tensor(data: GraphData, dims: readonly number[]): GraphTensor;
  /** @returns the outputs that are wanted, all by default, as copies that the caller owns. */
  run(inputs: GraphTensors, wanted?: readonly string[]): Promise<GraphTensors>;
  dispose(): Promise<void>;
}

/** External data of a graph: `path` is the location written inside the graph. */
export interface GraphWeights {
  readonly path: string;
  readonly data: Uint8Array;
}

export interface Runtime {
  /** For logs: `onnxruntime-web 1.30.0`. */
  readonly name: string;
  /** For how many milliseconds of running its code still becomes faster; 0 for code compiled ahead of time. */
  readonly warmUpMs: number;
  /** Whether it has memory and threads enough for the whole network in one session. */
  readonly holdsWhole: boolean;
  /** Holds no reference to `graph` or `weights` once the promise settles. */
  create(graph: Uint8Array, weights: readonly GraphWeights[]): Promise<GraphSession>;
}
