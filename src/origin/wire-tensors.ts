/** Typed arrays ⇄ the bytes of one safetensors tensor. */
import { floatsOf, halvesOf } from "../float16.ts";
import { fromInt8, toInt8 } from "../int8-rows.ts";
import type { StateDtype } from "../state-dtype.ts";
import { HandoffRefusal, malformed } from "./handoff-refusal.ts";
import type { TensorEntry } from "./safetensors.ts";

/** Of the tensor of an I8 tensor's scales. */
export const SCALES_SUFFIX = ".scale";

/** The bytes of an array, in place. */
export const bytesOf = (array: Int32Array | Float32Array | Uint16Array | Int8Array): Uint8Array =>
  new Uint8Array(array.buffer, array.byteOffset, array.byteLength);

/** Floats `[rows, columns]` as one tensor; in F32 a view. */
export function floatTensor(name: string, values: Float32Array, rows: number, dtype: "F32" | "F16"): TensorEntry {
  const bytes = bytesOf(dtype === "F32" ? values : halvesOf(values));
  return { name, dtype, shape: [rows, values.length / rows], bytes };
}

/** Keys or values `[rows, Hkv·Dh]`: one tensor, or in I8 integers and scales (src/int8-rows.ts). */
export function stateTensors(
  name: string,
  values: Float32Array,
  rows: number,
  { dtype, kvHeads }: { readonly dtype: StateDtype; readonly kvHeads: number },
): TensorEntry[] {
  if (dtype !== "I8") return [floatTensor(name, values, rows, dtype)];
  const columns = values.length / rows;
  const { scales, integers } = toInt8(values, columns / kvHeads);
  return [
    { name, dtype, shape: [rows, columns], bytes: bytesOf(integers) },
    floatTensor(name + SCALES_SUFFIX, scales, rows, "F32"), // [T, Hkv]
  ];
}

/** An I32 `[N]` tensor; a view where alignment allows. @throws {HandoffRefusal} */
export function readInts(tensor: TensorEntry): Int32Array {
  if (tensor.dtype !== "I32")
    throw new HandoffRefusal("handoff_dtype_unsupported", `${tensor.name} is ${tensor.dtype}`);
  if (tensor.shape.length !== 1) throw new HandoffRefusal("handoff_shape_mismatch", `${tensor.name} is not [N]`);
  return viewOf(tensor.bytes, Int32Array);
}

/** @throws {HandoffRefusal} unless the tensor is `[rows, columns]` of one of the dtypes. */
export function checkTensor(tensor: TensorEntry, rows: number, columns: number, dtypes: readonly StateDtype[]): void {
  if (!dtypes.some((dtype) => dtype === tensor.dtype)) {
    throw new HandoffRefusal("handoff_dtype_unsupported", `${tensor.name} is ${tensor.dtype}`);
  }
  if (tensor.shape.length !== 2 || tensor.shape[0] !== rows || tensor.shape[1] !== columns) {
    const got = tensor.shape.join(", ");
    throw new HandoffRefusal("handoff_shape_mismatch", `${tensor.name} is [${got}], not [${rows}, ${columns}]`);
  }
}

/**
 * A checked tensor as float32; in F32 a view where alignment allows.
 * @param scales of an I8 tensor, `[rows, Hkv]`, checked
 * @throws {HandoffRefusal} where a value is not finite
 */
export function readFloats({ name, dtype, bytes, shape }: TensorEntry, scales: TensorEntry | null): Float32Array {
  const values =
    dtype === "I8" && scales !== null
      ? fromInt8(
          { scales: readFloats(scales, null), integers: new Int8Array(bytes.buffer, bytes.byteOffset, bytes.length) },
          (shape[1] ?? 0) / (scales.shape[1] ?? 1),
        )
      : dtype === "F16"
        ? floatsOf(viewOf(bytes, Uint16Array))
        : viewOf(bytes, Float32Array);
  for (let i = 0; i < values.length; i++) {
    if (!Number.isFinite(values[i])) throw malformed(`${name} holds a value that is not finite`);
  }
  return values;
}

/** A view of bytes where alignment allows, else of a copy: foreign writers need not align. */
function viewOf<T>(
  bytes: Uint8Array,
  Numbers: {
    readonly BYTES_PER_ELEMENT: number;
    new (buffer: ArrayBufferLike, byteOffset: number, length: number): T;
  },
): T {
  const size = Numbers.BYTES_PER_ELEMENT;
  const from = bytes.byteOffset % size === 0 ? bytes : new Uint8Array(bytes);
  return new Numbers(from.buffer, from.byteOffset, from.length / size);
}
