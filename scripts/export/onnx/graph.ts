/** Builds one ONNX graph: nodes in order of computation, constants shared by value, weights beside it. */
import { MessageWriter } from "./wire.ts";
import { nodeMessage, tensorMessage, valueMessage, type Attribute, type Dimension, type ElementType } from "./proto.ts";
import type { WeightStore } from "./weights.ts";

/** IR version that goes with opset 23 (ONNX 1.18). */
const IR_VERSION = 11;
/** First opset with Attention, RotaryEmbedding and RMSNormalization. */
const OPSET = 23;
/** onnxruntime's own operators. */
export const MICROSOFT = "com.microsoft";
const MICROSOFT_OPSET = 1;
/** Tensors up to this many bytes stay inside the graph, where the runtime's optimiser sees their values. */
const INLINE_BYTES = 1024;

const ELEMENT_BYTES: Record<ElementType, number> = {
  float32: 4,
  uint8: 1,
  int8: 1,
  int32: 4,
  int64: 8,
  bool: 1,
};

interface OpOptions {
  readonly domain?: string;
  readonly attributes?: Readonly<Record<string, Attribute>>;
  /** Names of the outputs; by default one, named by the builder. */
  readonly outputs?: readonly string[];
}

/** Type and shape of a value. */
export interface ValueType {
  readonly type: ElementType;
  readonly dims: readonly Dimension[];
}

export class GraphBuilder {
  readonly #name: string;
  readonly #weights: WeightStore;
  /** Of the graph, or of the branch being built. */
  #nodes: MessageWriter[] = [];
  readonly #initializers: MessageWriter[] = [];
  readonly #inputs: MessageWriter[] = [];
  readonly #outputs: MessageWriter[] = [];
  readonly #constants = new Map<string, string>();
  readonly #shared = new Set<string>();
  #count = 0;

  constructor(name: string, weights: WeightStore) {
    this.#name = name;
    this.#weights = weights;
  }

  input(name: string, type: ElementType, dims: readonly Dimension[]): string {
    this.#inputs.push(valueMessage(name, type, dims));
    return name;
  }

  output(name: string, type: ElementType, dims: readonly Dimension[]): string {
    this.#outputs.push(valueMessage(name, type, dims));
    return name;
  }

  /** A name no other value of this graph has. */
  fresh(hint: string): string {
    return `${hint}_${this.#count++}`;
  }

  /** Adds a node and returns its outputs' names. An absent optional output is `""`. */
  ops(type: string, inputs: readonly string[], options: OpOptions & { outputs: readonly string[] }) {
    const { domain = "", attributes = {}, outputs } = options;
    const name = this.fresh(type);
    this.#nodes.push(nodeMessage({ type, domain, name, inputs, outputs, attributes }));
    return outputs;
  }

  /** Adds a node with one output and returns its name. */
  op(type: string, inputs: readonly string[], options: OpOptions = {}): string {
    const output = options.outputs?.[0] ?? this.fresh(type.toLowerCase());
    this.ops(type, inputs, { ...options, outputs: [output] });
    return output;
  }

  /**
   * One of two values, only that one computed. The branches may read every value and weight made before.
   * @param condition bool scalar.
   * @param then builds the value for true and returns its name, as `otherwise` does for false.
   */
  either(condition: string, result: ValueType, then: () => string, otherwise: () => string): string {
    const outputs = { [this.fresh("if")]: result };
    return this.eithers(
      condition,
      outputs,
      () => [then()],
      () => [otherwise()],
    )[0]!;
  }

  /** As `either`, of several values at once. @param results by their names, in the order the branches return them. */
  eithers(
    condition: string,
    results: Readonly<Record<string, ValueType>>,
    then: () => readonly string[],
    otherwise: () => readonly string[],
  ): readonly string[] {
    const types = Object.values(results);
    const branch = (build: () => readonly string[]) => ({ graph: this.#branch(build, types) });
    return this.ops("If", [condition], {
      attributes: { then_branch: branch(then), else_branch: branch(otherwise) },
      outputs: Object.keys(results),
    });
  }

  /** GraphProto of the nodes that `build` adds, with the values it names as its outputs. */
  #branch(build: () => readonly string[], results: readonly ValueType[]): MessageWriter {
    const outer = this.#nodes;
    this.#nodes = [];
    const outputs = build();
    const graph = new MessageWriter();
    for (const node of this.#nodes) graph.message(1, node);
    graph.string(2, this.fresh("branch"));
    for (const [i, { type, dims }] of results.entries()) graph.message(12, valueMessage(outputs[i]!, type, dims));
    this.#nodes = outer;
    return graph;
  }

  /**
   * A weight. It is placed at once in the graph's weight store, or in the graph itself when small.
   * @throws when the length does not match `dims`.
   */
  weight(name: string, type: ElementType, dims: readonly number[], data: () => ArrayBufferView): string {
    const wanted = dims.reduce((product, dim) => product * dim, ELEMENT_BYTES[type]);
    const bytes = () => {
      const { buffer, byteOffset, byteLength } = data();
      if (wanted !== byteLength) throw new Error(`${name}: ${byteLength} bytes for ${type} [${dims.join(",")}]`);
      return new Uint8Array(buffer, byteOffset, byteLength);
    };
    const placed = wanted <= INLINE_BYTES ? bytes() : this.#weights.place(name, bytes);
    this.#initializers.push(tensorMessage({ name, type, dims }, placed));
    return name;
  }

  /** A weight that several nodes read: written once, the first time its name is asked for. */
  shared(name: string, type: ElementType, dims: readonly number[], data: () => ArrayBufferView): string {
    if (!this.#shared.has(name)) {
      this.#shared.add(name);
      this.weight(name, type, dims, data);
    }
    return name;
  }

  #constant(type: ElementType, dims: readonly number[], data: ArrayBufferView): string {
    const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    const key = `${type}/${dims.join(",")}/${bytes.join(",")}`;
    const known = this.#constants.get(key);
    if (known !== undefined) return known;
    const name = this.fresh(`const_${type}`);
    this.#initializers.push(tensorMessage({ name, type, dims }, bytes.slice()));
    this.#constants.set(key, name);
    return name;
  }

  /** A float32 scalar. */
  float(value: number): string {
    return this.#constant("float32", [], Float32Array.of(value));
  }

  /** A uint8 scalar. */
  uint8(value: number): string {
    return this.#constant("uint8", [], Uint8Array.of(value));
  }

  /** An int64 scalar. */
  int64(value: number): string {
    return this.#constant("int64", [], BigInt64Array.of(BigInt(value)));
  }

  /** An int64 vector. */
  int64s(...values: number[]): string {
    return this.#constant("int64", [values.length], BigInt64Array.from(values, BigInt));
  }

  /** The finished ModelProto. */
  finish(): Uint8Array {
    const graph = new MessageWriter();
    for (const node of this.#nodes) graph.message(1, node);
    graph.string(2, this.#name);
    for (const tensor of this.#initializers) graph.message(5, tensor);
    for (const value of this.#inputs) graph.message(11, value);
    for (const value of this.#outputs) graph.message(12, value);
    const opset = (domain: string, version: number) => new MessageWriter().string(1, domain).int(2, version);
    return new MessageWriter()
      .int(1, IR_VERSION)
      .string(2, "sortie")
      .message(7, graph)
      .message(8, opset("", OPSET))
      .message(8, opset(MICROSOFT, MICROSOFT_OPSET))
      .finish()
      .slice();
  }
}
