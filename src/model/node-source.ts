/** A bundle in a folder. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { BundleSource } from "./bundle.ts";

export function folderSource(directory: string): BundleSource {
  return { read: async (path) => new Uint8Array(await readFile(join(directory, path))) };
}
