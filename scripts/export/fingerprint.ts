/** The name of a checkpoint: what caches, handoffs and routers are bound to. */
import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { weightFileNames } from "./safetensors.ts";

/** Hex digits kept of the digest: 64 bits, enough that no two checkpoints of one operator meet. */
const DIGITS = 16;

/**
 * First 16 hex digits of SHA-256 over these bytes, one after another with nothing between:
 * config.json, then each weight file whole, in ascending order of file names (by code unit). Weight files
 * are the distinct values of `weight_map` in model.safetensors.index.json where that file is there, else
 * model.safetensors.
 * @throws when a file is missing.
 */
export async function fingerprint(folder: string): Promise<string> {
  const hash = createHash("sha256").update(await readFile(join(folder, "config.json")));
  for (const name of weightFileNames(folder)) {
    for await (const chunk of createReadStream(join(folder, name))) hash.update(chunk as Buffer);
  }
  return hash.digest("hex").slice(0, DIGITS);
}
