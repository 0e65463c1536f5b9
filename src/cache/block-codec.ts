/**
 * What one segment made of one block of tokens, as bytes: in memory the payload alone, elsewhere sealed with a header
 * that says what it is and a digest that proves it (docs/protocol.md).
 *
 *   payload  hidden_state [32, d] · then, per layer of the segment: keys [32, Hkv·Dh] · values [32, Hkv·Dh]
 *     F32, F16   every value as it is named
 *     I8         hidden_state in F16; of keys and values, each: scales F32 [32, Hkv], then I8 [32, Hkv·Dh];
 *                a value is integer · scale, the scale of a token and head being its largest magnitude / 127
 *   header   "SORTIEB1" · dtype u8 · 3 × 0x00 · last layer u32 · key 32 bytes · SHA-256 of all before it and the payload
 *
 * Little-endian, as every machine that runs workerd or Node is.
 */
import { fromHex, sha256, toHex } from "../bytes.ts";
import { floatsOf, halvesOf } from "../float16.ts";
import { fromInt8, toInt8 } from "../int8-rows.ts";
import { BLOCK_TOKENS, type SegmentRows } from "../model/segment-state.ts";
import { STATE_DTYPES, type StateDtype } from "../state-dtype.ts";

/** What is known of a block's size before it is seen. */
export interface BlockShape {
  /** d. */
  readonly width: number;
  /** Hkv. */
  readonly heads: number;
  /** Dh. */
  readonly headDim: number;
  /** Of the segment. */
  readonly layers: number;
}

/** A block in memory. */
export interface PackedBlock {
  readonly dtype: StateDtype;
  readonly payload: Uint8Array<ArrayBuffer>;
}

/** Which block it must be. */
export interface BlockLabel {
  /** Lower-case hexadecimal. */
  readonly key: string;
  /** Of the segment. */
  readonly lastLayer: number;
}

const MAGIC = new TextEncoder().encode("SORTIEB1");
const DTYPE_AT = 8;
const LAYER_AT = 12;
const KEY_AT = 16;
const DIGEST_AT = 48;
/** Bytes of a sealed block's header; a multiple of 8, so that the payload can be viewed in place. */
export const HEADER_BYTES = 80;

/** Bytes of a block's payload. */
export function payloadBytes({ width, heads, headDim, layers }: BlockShape, dtype: StateDtype): number {
  const values = heads * headDim;
  const [hidden, part] = {
    F32: [4 * width, 4 * values],
    F16: [2 * width, 2 * values],
    I8: [2 * width, 4 * heads + values],
  }[dtype] as [number, number];
  return BLOCK_TOKENS * (hidden + 2 * layers * part);
}

/** Packs a block's rows, hidden states included; copies them. */
export function packBlock(
  rows: SegmentRows & { readonly hidden: Float32Array },
  shape: BlockShape,
  dtype: StateDtype,
): PackedBlock {
  const payload = new Uint8Array(payloadBytes(shape, dtype));
  let offset = 0;
  const add = (bytes: Uint8Array): void => {
    payload.set(bytes, offset);
    offset += bytes.length;
  };
  const half = (values: Float32Array): void => add(new Uint8Array(halvesOf(values).buffer));
  const whole = (values: Float32Array): void =>
    add(new Uint8Array(values.buffer, values.byteOffset, values.byteLength));
  const perHead = (values: Float32Array): void => {
    const { scales, integers } = toInt8(values, shape.headDim);
    whole(scales);
    add(new Uint8Array(integers.buffer));
  };
  const [hidden, part] = { F32: [whole, whole], F16: [half, half], I8: [half, perHead] }[dtype] as [
    (values: Float32Array) => void,
    (values: Float32Array) => void,
  ];
  hidden(rows.hidden); // [32, d]
  for (const [at, keys] of rows.keys.entries()) {
    part(keys); // [32, Hkv·Dh]
    part(rows.values[at] ?? new Float32Array(0));
  }
  if (offset !== payload.length) throw new RangeError(`a block of ${offset} bytes, not ${payload.length}`);
  return { dtype, payload };
}

/** The rows of a block whose length was checked; in F32 views of the payload. */
export function unpackBlock({ dtype, payload }: PackedBlock, shape: BlockShape): SegmentRows {
  const values = BLOCK_TOKENS * shape.heads * shape.headDim;
  let offset = payload.byteOffset;
  const whole = (length: number): Float32Array => {
    const floats = new Float32Array(payload.buffer, offset, length);
    offset += floats.byteLength;
    return floats;
  };
  const half = (length: number): Float32Array => {
    const floats = floatsOf(new Uint16Array(payload.buffer, offset, length));
    offset += length * Uint16Array.BYTES_PER_ELEMENT;
    return floats;
  };
  const perHead = (length: number): Float32Array => {
    const scales = whole(length / shape.headDim);
    const integers = new Int8Array(payload.buffer, offset, length);
    offset += length;
    return fromInt8({ scales, integers }, shape.headDim);
  };
  const [hidden, part] = { F32: [whole, whole], F16: [half, half], I8: [half, perHead] }[dtype] as [
    (length: number) => Float32Array,
    (length: number) => Float32Array,
  ];
  const state = hidden(BLOCK_TOKENS * shape.width);
  const keys: Float32Array[] = [];
  const valueRows: Float32Array[] = [];
  for (let layer = 0; layer < shape.layers; layer++) {
    keys.push(part(values));
    valueRows.push(part(values));
  }
  return { hidden: state, keys, values: valueRows };
}

/** A block as it leaves memory. */
export async function sealBlock({ dtype, payload }: PackedBlock, label: BlockLabel): Promise<Uint8Array<ArrayBuffer>> {
  const bytes = new Uint8Array(HEADER_BYTES + payload.length);
  bytes.set(MAGIC);
  bytes[DTYPE_AT] = STATE_DTYPES.indexOf(dtype);
  new DataView(bytes.buffer).setUint32(LAYER_AT, label.lastLayer, true);
  bytes.set(fromHex(label.key), KEY_AT);
  bytes.set(payload, HEADER_BYTES);
  bytes.set(await digestOf(bytes), DIGEST_AT);
  return bytes;
}

/** How a sealed block says that it is stored; null when there is no header. */
export function sealedDtype(bytes: Uint8Array): StateDtype | null {
  return STATE_DTYPES[bytes[DTYPE_AT] ?? STATE_DTYPES.length] ?? null;
}

/** Which block sealed bytes claim to be. */
export function sealedLabel(bytes: Uint8Array): BlockLabel {
  const view = new DataView(bytes.buffer, bytes.byteOffset, HEADER_BYTES);
  return { key: toHex(bytes.subarray(KEY_AT, DIGEST_AT)), lastLayer: view.getUint32(LAYER_AT, true) };
}

/**
 * Opens a sealed block; never throws. Its size is held against the shape before anything is allocated.
 *
 * @returns null unless it is whole, is the block that `label` names, and holds only finite numbers.
 */
export async function openBlock(bytes: Uint8Array, label: BlockLabel, shape: BlockShape): Promise<PackedBlock | null> {
  const dtype = sealedDtype(bytes);
  if (dtype === null || bytes.length !== HEADER_BYTES + payloadBytes(shape, dtype)) return null;
  const own = bytes.slice(); // the digest must be of what is kept; also aligns it
  const digest = toHex(own.subarray(DIGEST_AT, HEADER_BYTES));
  if (toHex(await digestOf(own)) !== digest) return null;
  const fits =
    toHex(own.subarray(0, MAGIC.length)) === toHex(MAGIC) &&
    new DataView(own.buffer).getUint32(LAYER_AT, true) === label.lastLayer &&
    toHex(own.subarray(KEY_AT, DIGEST_AT)) === label.key;
  if (!fits) return null;
  const block: PackedBlock = { dtype, payload: own.subarray(HEADER_BYTES) };
  const { hidden, keys, values } = unpackBlock(block, shape);
  return [hidden, ...keys, ...values].every((row) => row === null || row.every(Number.isFinite)) ? block : null;
}

/** SHA-256 of everything but the digest itself. */
function digestOf(bytes: Uint8Array<ArrayBuffer>): Promise<Uint8Array<ArrayBuffer>> {
  const text = new Uint8Array(bytes.length - (HEADER_BYTES - DIGEST_AT));
  text.set(bytes.subarray(0, DIGEST_AT));
  text.set(bytes.subarray(HEADER_BYTES), DIGEST_AT);
  return sha256(text);
}
