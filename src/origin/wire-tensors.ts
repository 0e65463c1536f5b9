/** Typed arrays ⇄ the bytes of one safetensors tensor. */
import { floatToHalf, halfToFloat } from "../float16.ts";
import { HandoffRefusal, malformed } from "./handoff-refusal.ts";
import type { TensorEntry } from "./safetensors.ts";

/** Float type of hidden states and kvCache on the wire. */
export type WireDtype = "F16" | "F32";

/** The bytes of an array, in place. */
export const bytesOf = (array: Int32Array | Float32Array | Uint16Array): Uint8Array =>
  new Uint8Array(array.buffer, array.byteOffset, array.byteLength);

/** The bytes of floats as `dtype`; F32 in place. */
export function floatBytes(values: Float32Array, dtype: WireDtype): Uint8Array {
  if (dtype === "F32") return bytesOf(values);
  const half = new Uint16Array(values.length);
  floatToHalf(values, half);
  return bytesOf(half);
}

/** An I32 `[N]` tensor; a view where alignment allows. @throws {HandoffRefusal} */
export function readInts(tensor: TensorEntry): Int32Array {
  if (tensor.dtype !== "I32")
    throw new HandoffRefusal("handoff_dtype_unsupported", `${tensor.name} is ${tensor.dtype}`);
  if (tensor.shape.length !== 1) throw new HandoffRefusal("handoff_shape_mismatch", `${tensor.name} is not [N]`);
  const bytes = aligned(tensor.bytes, Int32Array.BYTES_PER_ELEMENT);
  return new Int32Array(bytes.buffer, bytes.byteOffset, bytes.length / Int32Array.BYTES_PER_ELEMENT);
}

/** @throws {HandoffRefusal} unless the tensor is F16|F32 `[rows, columns]`. */
export function checkFloats(tensor: TensorEntry, rows: number, columns: number): void {
  if (tensor.dtype !== "F16" && tensor.dtype !== "F32") {
    throw new HandoffRefusal("handoff_dtype_unsupported", `${tensor.name} is ${tensor.dtype}`);
  }
  if (tensor.shape.length !== 2 || tensor.shape[0] !== rows || tensor.shape[1] !== columns) {
    const got = tensor.shape.join(", ");
    throw new HandoffRefusal("handoff_shape_mismatch", `${tensor.name} is [${got}], not [${rows}, ${columns}]`);
  }
}

/** A checked F16|F32 tensor as float32; a view where dtype and alignment allow. @throws {HandoffRefusal} */
export function readFloats(tensor: TensorEntry): Float32Array {
  const elementBytes = tensor.dtype === "F16" ? 2 : 4;
  const bytes = aligned(tensor.bytes, elementBytes);
  const length = bytes.length / elementBytes;
  let values: Float32Array;
  if (tensor.dtype === "F16") {
    values = new Float32Array(length);
    halfToFloat(new Uint16Array(bytes.buffer, bytes.byteOffset, length), values);
  } else {
    values = new Float32Array(bytes.buffer, bytes.byteOffset, length);
  }
  for (let i = 0; i < length; i++) {
    if (!Number.isFinite(values[i])) throw malformed(`${tensor.name} holds a value that is not finite`);
  }
  return values;
}

/** The same bytes where typed arrays may view them: foreign writers need not align. */
function aligned(bytes: Uint8Array, elementBytes: number): Uint8Array {
  return bytes.byteOffset % elementBytes === 0 ? bytes : new Uint8Array(bytes);
}
