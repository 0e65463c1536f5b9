/** The files that hold a graph's weights outside of it (ONNX external data). */
import { createHash, type Hash } from "node:crypto";
import { closeSync, openSync, writeSync } from "node:fs";
import { join } from "node:path";
import type { BundleFile } from "../../../src/model/bundle.ts";
import type { ExternalData } from "./proto.ts";

/** Bytes in one file: a Worker's static asset may have 25 MiB; 25 MB leaves no doubt which is meant. */
export const MAX_FILE_BYTES = 25_000_000;
/** Tensors start at multiples of this many bytes: a cache line, wide enough for any SIMD load. */
const ALIGNMENT = 64;

interface OpenFile {
  readonly path: string;
  readonly descriptor: number;
  readonly hash: Hash;
  bytes: number;
}

/** Where weights were written, by name. */
export type Places = Map<string, ExternalData>;

/** Finds a weight its place outside of the graph. */
export interface WeightStore {
  place(name: string, data: () => Uint8Array): ExternalData;
}

/** Weights that other graphs have written: none is written again, none asked for its data. */
export class WrittenWeights implements WeightStore {
  readonly #places: Places;

  constructor(places: Places) {
    this.#places = places;
  }

  /** @throws when no graph has written it. */
  place(name: string): ExternalData {
    const place = this.#places.get(name);
    if (place === undefined) throw new Error(`no graph has written ${name}`);
    return place;
  }
}

/** Writes tensors one after another into `PREFIX.0.bin`, `PREFIX.1.bin`, …; a tensor never spans two. */
export class WeightFiles implements WeightStore {
  readonly #folder: string;
  readonly #prefix: string;
  readonly #places: Places;
  readonly #done: BundleFile[] = [];
  #open: OpenFile | undefined;

  /** @param places where each weight is noted. */
  constructor(folder: string, prefix: string, places: Places = new Map()) {
    this.#folder = folder;
    this.#prefix = prefix;
    this.#places = places;
  }

  /** @throws when the tensor alone is larger than a file may be. */
  place(name: string, data: () => Uint8Array): ExternalData {
    const written = this.#write(data());
    this.#places.set(name, written);
    return written;
  }

  #write(data: Uint8Array): ExternalData {
    if (data.length > MAX_FILE_BYTES) {
      throw new Error(`a tensor of ${data.length} bytes does not fit a file of ${MAX_FILE_BYTES}`);
    }
    if (this.#open !== undefined && aligned(this.#open.bytes) + data.length > MAX_FILE_BYTES) {
      this.#close();
    }
    this.#open ??= this.#create();
    const file = this.#open;
    const offset = aligned(file.bytes);
    append(file, new Uint8Array(offset - file.bytes));
    append(file, data);
    return { location: file.path, offset, length: data.length };
  }

  #create(): OpenFile {
    const path = `${this.#prefix}.${this.#done.length}.bin`;
    const descriptor = openSync(join(this.#folder, path), "w");
    return { path, descriptor, hash: createHash("sha256"), bytes: 0 };
  }

  #close(): void {
    if (this.#open === undefined) return;
    const { path, descriptor, hash, bytes } = this.#open;
    closeSync(descriptor);
    this.#done.push({ path, bytes, sha256: hash.digest("hex") });
    this.#open = undefined;
  }

  /** Closes the last file. @returns all files, as bundle.json lists them. */
  finish(): BundleFile[] {
    this.#close();
    return this.#done;
  }
}

function aligned(bytes: number): number {
  return Math.ceil(bytes / ALIGNMENT) * ALIGNMENT;
}

function append(file: OpenFile, data: Uint8Array): void {
  for (let written = 0; written < data.length;) {
    written += writeSync(file.descriptor, data, written);
  }
  file.hash.update(data);
  file.bytes += data.length;
}
