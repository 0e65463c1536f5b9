/**
 * Reads weights from safetensors files, one tensor (or some of its rows) at a time, as float32.
 * Format: https://huggingface.co/docs/safetensors (8 bytes header length, JSON header, data).
 */
import { closeSync, existsSync, openSync, readFileSync, readSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";

export const SINGLE_FILE = "model.safetensors";
export const INDEX_FILE = "model.safetensors.index.json";

/** Header length in bytes that no checkpoint needs: the reference reader has the same bound. */
const MAX_HEADER_BYTES = 100_000_000;

const BYTES = { F32: 4, F16: 2, BF16: 2 } as const;
type DType = keyof typeof BYTES;

const headerSchema = z.record(
  z.string(),
  z.object({
    dtype: z.string(),
    shape: z.array(z.int().min(0)),
    data_offsets: z.tuple([z.int().min(0), z.int().min(0)]),
  }),
);
const indexSchema = z.object({ weight_map: z.record(z.string(), z.string()) });

interface Entry {
  readonly file: number;
  readonly dtype: DType;
  readonly shape: readonly number[];
  /** Position of the first byte in its file. */
  readonly offset: number;
}

/** File names of a checkpoint's weights, sorted by code unit. @throws when there are none. */
export function weightFileNames(folder: string): string[] {
  if (existsSync(join(folder, INDEX_FILE))) {
    const index = indexSchema.parse(JSON.parse(readFileSync(join(folder, INDEX_FILE), "utf8")));
    return [...new Set(Object.values(index.weight_map))].toSorted();
  }
  if (existsSync(join(folder, SINGLE_FILE))) return [SINGLE_FILE];
  throw new Error(`${folder}: neither ${SINGLE_FILE} nor ${INDEX_FILE} is there`);
}

function readExactly(file: number, bytes: Uint8Array, position: number, name: string): void {
  for (let done = 0; done < bytes.length;) {
    const got = readSync(file, bytes, done, bytes.length - done, position + done);
    if (got === 0) throw new Error(`${name}: the file ends early`);
    done += got;
  }
}

/** float16 → float32 by table: 65,536 values, made once. */
const halfTable = (() => {
  let table: Float32Array | undefined;
  return () => (table ??= Float32Array.from({ length: 65_536 }, (_, bits) => halfToFloat(bits)));
})();

/** One IEEE 754 half: sign 1, exponent 5 (bias 15), fraction 10 bits. */
export function halfToFloat(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 0x1f;
  const fraction = bits & 0x3ff;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  if (exponent === 0x1f) return fraction === 0 ? sign * Infinity : Number.NaN;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

function toFloat32(bytes: Uint8Array<ArrayBuffer>, dtype: DType): Float32Array {
  if (dtype === "F32") return new Float32Array(bytes.buffer);
  const halves = new Uint16Array(bytes.buffer);
  if (dtype === "F16") {
    const table = halfTable();
    return Float32Array.from(halves, (bits) => table[bits]!);
  }
  return new Float32Array(Uint32Array.from(halves, (bits) => bits << 16).buffer);
}

/** The tensors of one checkpoint folder. Holds files open until `close`. */
export class Safetensors implements Disposable {
  readonly #files: number[] = [];
  readonly #entries = new Map<string, Entry>();

  /** @throws when a file is missing, cut short, or holds a dtype other than F32, F16, BF16. */
  constructor(folder: string) {
    for (const name of weightFileNames(folder)) this.#readHeader(folder, name);
  }

  #readHeader(folder: string, name: string): void {
    const file = openSync(join(folder, name), "r");
    this.#files.push(file);
    const length = new Uint8Array(8);
    readExactly(file, length, 0, name);
    const headerBytes = Number(new DataView(length.buffer).getBigUint64(0, true));
    if (headerBytes > MAX_HEADER_BYTES) throw new Error(`${name}: not a safetensors file`);
    const header = new Uint8Array(headerBytes);
    readExactly(file, header, 8, name);
    const { __metadata__: _, ...tensors } = JSON.parse(new TextDecoder().decode(header));
    for (const [key, tensor] of Object.entries(headerSchema.parse(tensors))) {
      const { dtype, shape, data_offsets: span } = tensor;
      if (dtype !== "F32" && dtype !== "F16" && dtype !== "BF16") {
        throw new Error(`${name}: ${key} has dtype ${dtype}; F32, F16 and BF16 are supported`);
      }
      const bytes = shape.reduce((product, dim) => product * dim, BYTES[dtype]);
      if (span[1] - span[0] !== bytes) throw new Error(`${name}: ${key} has a wrong length`);
      this.#entries.set(key, { file, dtype, shape, offset: 8 + headerBytes + span[0] });
    }
  }

  get names(): string[] {
    return [...this.#entries.keys()];
  }

  has(name: string): boolean {
    return this.#entries.has(name);
  }

  /**
   * Rows `from`…`to`-1 of a tensor of the given shape (a vector has one row).
   * @throws when the tensor is missing or of another shape.
   */
  rows(name: string, shape: readonly number[], from: number, to: number): Float32Array {
    const entry = this.#entries.get(name);
    if (entry === undefined) throw new Error(`the checkpoint has no tensor ${name}`);
    if (entry.shape.join() !== shape.join()) {
      throw new Error(`${name} has shape [${entry.shape.join(",")}]; config.json asks for [${shape.join(",")}]`);
    }
    const rowBytes = shape.slice(1).reduce((product, dim) => product * dim, BYTES[entry.dtype]);
    const bytes = new Uint8Array((to - from) * rowBytes);
    readExactly(entry.file, bytes, entry.offset + from * rowBytes, name);
    return toFloat32(bytes, entry.dtype);
  }

  /** A whole tensor. @throws as `rows`. */
  tensor(name: string, shape: readonly number[]): Float32Array {
    return this.rows(name, shape, 0, shape[0] ?? 1);
  }

  [Symbol.dispose](): void {
    for (const file of this.#files.splice(0)) closeSync(file);
  }
}
