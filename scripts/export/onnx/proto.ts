/**
 * ONNX messages on the wire. Field numbers are those of onnx.proto (IR version 11, opset 23):
 * https://github.com/onnx/onnx/blob/main/onnx/onnx.proto
 */
import { MessageWriter } from "./wire.ts";

/** TensorProto.DataType. */
export const DataType = { float32: 1, uint8: 2, int8: 3, int32: 6, int64: 7, bool: 9 } as const;
export type ElementType = keyof typeof DataType;

/** A dimension: a length, or the name of a length known at run time. */
export type Dimension = number | string;

/** Where a tensor's bytes lie outside the graph. */
export interface ExternalData {
  /** File name beside the graph. */
  readonly location: string;
  /** In bytes. */
  readonly offset: number;
  /** In bytes. */
  readonly length: number;
}

export interface TensorInfo {
  readonly name: string;
  readonly type: ElementType;
  readonly dims: readonly number[];
}

/** A number is written as INT when the attribute's name is in `ints`, else as FLOAT. */
export type Attribute =
  | { readonly int: number }
  | { readonly float: number }
  | { readonly ints: readonly number[] }
  | { readonly string: string }
  | { readonly graph: MessageWriter };

export interface NodeInfo {
  readonly type: string;
  /** `""` is ONNX's own domain. */
  readonly domain: string;
  readonly name: string;
  /** An absent optional input is `""`. */
  readonly inputs: readonly string[];
  readonly outputs: readonly string[];
  readonly attributes: Readonly<Record<string, Attribute>>;
}

/** AttributeProto.AttributeType. */
const AttributeType = { float: 1, int: 2, string: 3, graph: 5, ints: 7 } as const;
/** TensorProto.DataLocation.EXTERNAL. */
const EXTERNAL = 1;

const utf8 = new TextEncoder();

function attribute(name: string, value: Attribute): MessageWriter {
  const message = new MessageWriter().string(1, name);
  if ("int" in value) return message.int(3, value.int).int(20, AttributeType.int);
  if ("float" in value) return message.float(2, value.float).int(20, AttributeType.float);
  if ("graph" in value) return message.message(6, value.graph).int(20, AttributeType.graph);
  if ("string" in value) {
    return message.bytes(4, utf8.encode(value.string)).int(20, AttributeType.string);
  }
  for (const item of value.ints) message.int(8, item);
  return message.int(20, AttributeType.ints);
}

/** NodeProto. */
export function nodeMessage(node: NodeInfo): MessageWriter {
  const message = new MessageWriter();
  for (const input of node.inputs) message.string(1, input);
  for (const output of node.outputs) message.string(2, output);
  message.string(3, node.name).string(4, node.type);
  for (const [name, value] of Object.entries(node.attributes)) {
    message.message(5, attribute(name, value));
  }
  return node.domain === "" ? message : message.string(7, node.domain);
}

/** TensorProto, its data inside the graph or in a file beside it. */
export function tensorMessage(info: TensorInfo, data: Uint8Array | ExternalData): MessageWriter {
  const message = new MessageWriter();
  for (const dim of info.dims) message.int(1, dim);
  message.int(2, DataType[info.type]).string(8, info.name);
  if (data instanceof Uint8Array) return message.bytes(9, data);
  const entries = { location: data.location, offset: data.offset, length: data.length };
  for (const [key, value] of Object.entries(entries)) {
    message.message(13, new MessageWriter().string(1, key).string(2, String(value)));
  }
  return message.int(14, EXTERNAL);
}

/** ValueInfoProto of a graph's input or output. */
export function valueMessage(name: string, type: ElementType, dims: readonly Dimension[]): MessageWriter {
  const shape = new MessageWriter();
  for (const dim of dims) {
    const dimension = new MessageWriter();
    if (typeof dim === "number") dimension.int(1, dim);
    else dimension.string(2, dim);
    shape.message(1, dimension);
  }
  const tensor = new MessageWriter().int(1, DataType[type]).message(2, shape);
  return new MessageWriter().string(1, name).message(2, new MessageWriter().message(1, tensor));
}
