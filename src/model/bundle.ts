/** The bundle: what `npm run export` writes and both tiers load. */
import { z } from "zod";
import { toHex } from "../bytes.ts";
import { BundleError } from "./errors.ts";

/** Bumped when an older engine could not read the bundle. */
export const BUNDLE_FORMAT = "sortie-bundle/2";

const fileSchema = z.strictObject({
  /** Relative to the folder of bundle.json; also the external-data location inside the graph. */
  path: z.string().regex(/^[A-Za-z0-9._-]+$/),
  bytes: z.int().min(0),
  /** Lower-case hex. */
  sha256: z.string().regex(/^[0-9a-f]{64}$/),
});
export type BundleFile = z.infer<typeof fileSchema>;

const graphSchema = z.strictObject({
  graph: fileSchema,
  /** External data of the graph, each file at most 25 MB. */
  weights: z.array(fileSchema),
});
export type BundleGraph = z.infer<typeof graphSchema>;

export const bundleSchema = z.strictObject({
  format: z.literal(BUNDLE_FORMAT),
  /** Public model name, e.g. `tiny`. */
  name: z.string().regex(/^[A-Za-z0-9._-]+$/),
  fingerprint: z.string().regex(/^[0-9a-f]{16}$/),
  numerics: z.enum(["w8a8", "fp32"]),
  shape: z.strictObject({
    layers: z.int().positive(),
    hidden_size: z.int().positive(),
    heads: z.int().positive(),
    kv_heads: z.int().positive(),
    head_dim: z.int().positive(),
    vocab_size: z.int().positive(),
    /** Longest sequence (prompt + answer) in tokens. */
    context_length: z.int().positive(),
  }),
  /** Ascending; the last one is `shape.layers` unless the export was cut short. */
  exits: z.array(z.int().positive()).min(1),
  /** Ids that end an answer (generation_config.json, config.json). */
  eos_token_ids: z.array(z.int().min(0)),
  /** Embedding, final norm and head: the layers' two ends, which share one weight when tied. */
  rim: graphSchema,
  /** Segment s holds the layers between exit s-1 and exit s. */
  segments: z.array(graphSchema.extend({ first_layer: z.int().positive(), last_layer: z.int().positive() })).min(1),
  /** All of these as one graph, over the same weight files. */
  whole: fileSchema,
  tokenizer: z.strictObject({ tokenizer: fileSchema, config: fileSchema }),
  /** Gate parameters, absent when the checkpoint was never calibrated. */
  router: fileSchema.optional(),
});
export type Bundle = z.infer<typeof bundleSchema>;

/** Where a bundle's files come from: static assets and R2 in the Worker, a folder in Node. */
export interface BundleSource {
  /**
   * @param sha256 as the manifest has it; undefined: the manifest itself is read
   * @throws when the file cannot be read.
   */
  read(path: string, sha256?: string): Promise<Uint8Array>;
}

/** Key of a file in R2. It names the content, so that bundles never overwrite one another's. */
export const weightsKey = (sha256: string): string => `weights/${sha256}`;

/** Name of the manifest inside a bundle. */
export const BUNDLE_MANIFEST = "bundle.json";

/**
 * Reads and validates the manifest.
 *
 * @throws BundleError `unreadable`, `manifest`: not JSON, another format, or segments that do not match the exits.
 */
export async function openBundle(source: BundleSource): Promise<Bundle> {
  const text = new TextDecoder().decode(await read(source, BUNDLE_MANIFEST));
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    throw new BundleError("manifest", BUNDLE_MANIFEST, "it is not JSON", { cause });
  }
  const parsed = bundleSchema.safeParse(json);
  if (!parsed.success) throw new BundleError("manifest", BUNDLE_MANIFEST, z.prettifyError(parsed.error));
  const bundle = parsed.data;
  const fits = bundle.segments.every(
    (segment, at) => segment.last_layer === bundle.exits[at] && segment.first_layer === (bundle.exits[at - 1] ?? 0) + 1,
  );
  if (!fits || bundle.segments.length !== bundle.exits.length) {
    throw new BundleError("manifest", BUNDLE_MANIFEST, "its segments do not match its exits");
  }
  return bundle;
}

/**
 * One file of a bundle, proven to be what the manifest says.
 *
 * @throws BundleError `unreadable`, `size`, `digest`.
 */
export async function readVerified(source: BundleSource, file: BundleFile): Promise<Uint8Array> {
  const bytes = await read(source, file.path, file.sha256);
  if (bytes.byteLength !== file.bytes) {
    throw new BundleError("size", file.path, `${bytes.byteLength} bytes, the manifest says ${file.bytes}`);
  }
  const hex = toHex(new Uint8Array(await crypto.subtle.digest("SHA-256", bytes)));
  if (hex !== file.sha256)
    throw new BundleError("digest", file.path, `SHA-256 ${hex}, the manifest says ${file.sha256}`);
  return bytes;
}

async function read(source: BundleSource, path: string, sha256?: string): Promise<Uint8Array> {
  try {
    return await source.read(path, sha256);
  } catch (cause) {
    throw new BundleError("unreadable", path, "it cannot be read", { cause });
  }
}
