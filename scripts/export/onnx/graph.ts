/** Builds one ONNX graph: nodes in order of computation, constants shared by value, weights beside it. */
import { MessageWriter } from "./wire.ts";
import { nodeMessage, tensorMessage, valueMessage, type Attribute, type Dimension, type ElementType } from "./proto.ts";
import type { WeightFiles } from "./weights.ts";

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

export class GraphBuilder {
  readonly #name: string;
  readonly #weights: WeightFiles;
  /** Of the graph, or of the branch being built. */
  #nodes: MessageWriter[] = [];
  readonly #initializers: MessageWriter[] = [];
  readonly #inputs: MessageWriter[] = [];
  readonly #outputs: MessageWriter[] = [];
  readonly #constants = new Map<string, string>();
  readonly #shared = new Set<string>();
  #count = 0;

  constructor(name: string, weights: WeightFiles) {
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
  either(
    condition: string,
    result: { readonly type: ElementType; readonly dims: readonly Dimension[] },
    then: () => string,
    otherwise: () => string,
  ): string {
    const branch = (build: () => string) => ({ graph: this.#branch(build, result) });
    return this.op("If", [condition], {
      attributes: { then_branch: branch(then), else_branch: branch(otherwise) },
    });
  }

  /** GraphProto of the nodes that `build` adds, with the value it names as its output. */
  #branch(build: () => string, result: { type: ElementType; dims: readonly Dimension[] }): MessageWriter {
    const outer = this.#nodes;
    this.#nodes = [];
    const output = build();
    const graph = new MessageWriter();
    for (const node of this.#nodes) graph.message(1, node);
    graph.string(2, this.fresh("branch")).message(12, valueMessage(output, result.type, result.dims));
    this.#nodes = outer;
    return graph;
  }

  /**
   * A weight. Its bytes are written at once to the graph's weight files (or into the graph when small).
   * @throws when the length does not match `dims`.
   */
  weight(name: string, type: ElementType, dims: readonly number[], data: ArrayBufferView): string {
    const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
    const wanted = dims.reduce((product, dim) => product * dim, ELEMENT_BYTES[type]);
    if (wanted !== bytes.length) {
      throw new Error(`${name}: ${bytes.length} bytes for ${type} [${dims.join(",")}]`);
    }
    const placed = bytes.length <= INLINE_BYTES ? bytes : this.#weights.add(bytes);
    this.#initializers.push(tensorMessage({ name, type, dims }, placed));
    return name;
  }

  /** A weight that several nodes read: written once, the first time its name is asked for. */
  shared(name: string, type: ElementType, dims: readonly number[], data: () => ArrayBufferView): string {
    if (!this.#shared.has(name)) {
      this.#shared.add(name);
      this.weight(name, type, dims, data());
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
