/** The bundle: what `npm run export` writes and both tiers load. */
import { z } from "zod";

/** Bumped when an older engine could not read the bundle. */
export const BUNDLE_FORMAT = "sortie-bundle/1";

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
  tokenizer: z.strictObject({ tokenizer: fileSchema, config: fileSchema }),
  /** Gate parameters, absent when the checkpoint was never calibrated. */
  router: fileSchema.optional(),
});
export type Bundle = z.infer<typeof bundleSchema>;

/** Where a bundle's files come from: static assets in the Worker, a folder in Node. */
export interface BundleSource {
  /** @throws when the file cannot be read. */
  read(path: string): Promise<Uint8Array>;
}
