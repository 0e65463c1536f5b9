/**
 * The safetensors container, read strictly (https://github.com/huggingface/safetensors#format):
 * u64 header length, JSON header, data. Every tensor is checked against the bytes before anyone looks at it.
 * Little-endian, as every machine that runs workerd or Node is.
 */
import { z } from "zod";
import { findDuplicateKey } from "./json-keys.ts";
import { MAX_HEADER_BYTES, MAX_LAYERS } from "./protocol.ts";

/** Bytes of the header's length field. */
const LENGTH_BYTES = 8;
/** Data starts at a multiple of this, so that every element type can be viewed in place. */
const ALIGNMENT = 8;
/** `__metadata__`, ids, and of every layer hidden states, keys and values, and the scales of these. */
const MAX_ENTRIES = 2 + 5 * MAX_LAYERS;
/** No tensor of ours has more than two dimensions; the format's own are small too. */
const MAX_RANK = 4;

/** Bytes of one element, for every dtype of the format with whole bytes. */
const ELEMENT_BYTES: Readonly<Record<string, number>> = {
  BOOL: 1, U8: 1, I8: 1, F8_E4M3: 1, F8_E5M2: 1,
  I16: 2, U16: 2, F16: 2, BF16: 2,
  I32: 4, U32: 4, F32: 4,
  I64: 8, U64: 8, F64: 8,
}; // prettier-ignore

/** Bytes that are no safetensors file. */
export class SafetensorsError extends Error {
  /** `dtype`: unknown element type; `length`: shape and bytes disagree; `malformed`: all else. */
  readonly reason: "malformed" | "dtype" | "length";
  constructor(reason: SafetensorsError["reason"], message: string) {
    super(message);
    this.name = "SafetensorsError";
    this.reason = reason;
  }
}

const size = z.int().min(0);
const entrySchema = z.strictObject({
  dtype: z.string().max(16),
  shape: z.array(size).max(MAX_RANK),
  data_offsets: z.tuple([size, size]),
});
const metadataSchema = z.record(z.string(), z.string());

export interface TensorEntry {
  readonly name: string;
  readonly dtype: string;
  readonly shape: readonly number[];
  /** The tensor's bytes, a view of the file. */
  readonly bytes: Uint8Array;
}

export interface Safetensors {
  readonly metadata: Readonly<Record<string, string>>;
  readonly tensors: ReadonlyMap<string, TensorEntry>;
}

/** Reads a file without copying. @throws {SafetensorsError} and nothing else. */
export function readSafetensors(file: Uint8Array): Safetensors {
  const { header, data } = splitFile(file);
  const { __metadata__: metadata = {}, ...entries } = parseHeader(header);
  const names = Object.keys(entries);
  if (names.length > MAX_ENTRIES) throw malformed(`more than ${MAX_ENTRIES} tensors`);
  const parsedMetadata = metadataSchema.safeParse(metadata);
  if (!parsedMetadata.success) throw malformed("__metadata__ is not a map of strings");
  const tensors = names.map((name) => readEntry(name, entries[name], data));
  checkCoverage(tensors, data);
  return { metadata: parsedMetadata.data, tensors: new Map(tensors.map((tensor) => [tensor.name, tensor])) };
}

/** Writes a file; data is laid out in the order given. */
export function writeSafetensors(
  metadata: Readonly<Record<string, string>>,
  tensors: readonly TensorEntry[],
): Uint8Array<ArrayBuffer> {
  const header: Record<string, unknown> = { __metadata__: metadata };
  let end = 0;
  for (const { name, dtype, shape, bytes } of tensors) {
    header[name] = { dtype, shape, data_offsets: [end, end + bytes.length] };
    end += bytes.length;
  }
  const text = new TextEncoder().encode(JSON.stringify(header));
  const headerBytes = Math.ceil(text.length / ALIGNMENT) * ALIGNMENT;
  const file = new Uint8Array(LENGTH_BYTES + headerBytes + end);
  new DataView(file.buffer).setBigUint64(0, BigInt(headerBytes), true);
  file.set(text, LENGTH_BYTES);
  file.fill(0x20, LENGTH_BYTES + text.length, LENGTH_BYTES + headerBytes); // the format pads with spaces
  let offset = LENGTH_BYTES + headerBytes;
  for (const { bytes } of tensors) {
    file.set(bytes, offset);
    offset += bytes.length;
  }
  return file;
}

const malformed = (message: string): SafetensorsError => new SafetensorsError("malformed", message);

function splitFile(file: Uint8Array): { header: Uint8Array; data: Uint8Array } {
  if (file.length < LENGTH_BYTES) throw malformed("shorter than its length field");
  const length = new DataView(file.buffer, file.byteOffset).getBigUint64(0, true);
  if (length > BigInt(MAX_HEADER_BYTES)) throw malformed(`header of more than ${MAX_HEADER_BYTES} bytes`);
  const dataStart = LENGTH_BYTES + Number(length);
  if (dataStart > file.length) throw malformed("header is cut short");
  return { header: file.subarray(LENGTH_BYTES, dataStart), data: file.subarray(dataStart) };
}

function parseHeader(header: Uint8Array): Record<string, unknown> {
  let text: string;
  let value: unknown;
  try {
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(header);
    value = JSON.parse(text);
  } catch {
    throw malformed("header is not JSON");
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw malformed("header is not an object");
  const duplicate = findDuplicateKey(text);
  if (duplicate !== null) throw malformed(`key ${JSON.stringify(duplicate.slice(0, 64))} stands twice in the header`);
  return value as Record<string, unknown>;
}

function readEntry(name: string, value: unknown, data: Uint8Array): TensorEntry {
  const label = JSON.stringify(name.slice(0, 64));
  const parsed = entrySchema.safeParse(value);
  if (!parsed.success) throw malformed(`tensor ${label} is described wrongly`);
  const {
    dtype,
    shape,
    data_offsets: [begin, end],
  } = parsed.data;
  const elementBytes = Object.hasOwn(ELEMENT_BYTES, dtype) ? ELEMENT_BYTES[dtype] : undefined;
  if (elementBytes === undefined) throw new SafetensorsError("dtype", `tensor ${label} has dtype ${dtype}`);
  if (begin > end || end > data.length) throw new SafetensorsError("length", `tensor ${label} lies outside the data`);
  const expected = shape.reduce((product, dimension) => product * dimension, elementBytes);
  if (expected !== end - begin) {
    throw new SafetensorsError("length", `tensor ${label} needs ${expected} bytes and has ${end - begin}`);
  }
  return { name, dtype, shape, bytes: data.subarray(begin, end) };
}

/** The format allows neither overlap nor holes: the tensors tile the data. */
function checkCoverage(tensors: readonly TensorEntry[], data: Uint8Array): void {
  const start = (tensor: TensorEntry): number => tensor.bytes.byteOffset;
  const ordered = [...tensors].sort((a, b) => start(a) - start(b) || a.bytes.length - b.bytes.length);
  let end = data.byteOffset;
  for (const tensor of ordered) {
    if (start(tensor) !== end) throw malformed("tensors overlap or leave a hole");
    end += tensor.bytes.length;
  }
  if (end !== data.byteOffset + data.length) throw malformed("bytes after the last tensor");
}
