/** Writes a bundle: the graphs of a checkpoint, their weights, its tokenizer, and bundle.json that lists them. */
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { basename, join, resolve } from "node:path";
import { BUNDLE_FORMAT, bundleSchema, type Bundle, type BundleFile, type BundleGraph } from "../../src/model/bundle.ts";
import { readConfig, type Checkpoint, type ConfigOptions } from "./config.ts";
import { configFile, routerFile, tokenizerFile, type CopiedFile } from "./copied.ts";
import { fingerprint } from "./fingerprint.ts";
import { float32 } from "./float32.ts";
import type { Numerics } from "./numerics.ts";
import { type Places, WeightFiles, WrittenWeights } from "./onnx/weights.ts";
import { rimGraph } from "./rim.ts";
import { Safetensors } from "./safetensors.ts";
import { segmentGraph } from "./segment.ts";
import { assertAllUsed } from "./tensors.ts";
import { w8a8 } from "./w8a8.ts";
import { w8a8Whole } from "./w8a8-whole.ts";
import { wholeGraph } from "./whole.ts";

export interface ExportOptions extends ConfigOptions {
  /** Folder of a Hugging Face checkpoint. */
  readonly checkpoint: string;
  /** Folder to write; made when missing, emptied of an older bundle's files. */
  readonly out: string;
  readonly numerics: Bundle["numerics"];
  /** Public model name; by default the checkpoint folder's. */
  readonly name?: string | undefined;
  /** How graphs multiply, where it is not what `numerics` names: for benchmarks only. */
  readonly products?: Numerics | undefined;
  /** Called before each graph and at the end. */
  readonly onProgress?: ((done: number, total: number, label: string) => void) | undefined;
}

/** Of the graphs in pieces, and of the whole network's. */
const NUMERICS: Record<Bundle["numerics"], Readonly<Record<"pieces" | "whole", Numerics>>> = {
  fp32: { pieces: float32, whole: float32 },
  w8a8: { pieces: w8a8, whole: w8a8Whole },
};
const BUNDLE_FILE = "bundle.json";

const sha256 = (bytes: Uint8Array) => createHash("sha256").update(bytes).digest("hex");

function writeFile(folder: string, path: string, bytes: Uint8Array): BundleFile {
  writeFileSync(join(folder, path), bytes);
  return { path, bytes: bytes.length, sha256: sha256(bytes) };
}

/** One graph and its weight files under a common prefix. */
function writeGraph(
  folder: string,
  prefix: string,
  places: Places,
  build: (weights: WeightFiles) => Uint8Array,
): BundleGraph {
  const weights = new WeightFiles(folder, prefix, places);
  const graph = writeFile(folder, `${prefix}.onnx`, build(weights));
  return { graph, weights: weights.finish() };
}

/** Written, not copied: that would keep a read-only mode. */
const writeCopied = (folder: string, { path, bytes }: CopiedFile): BundleFile => writeFile(folder, path, bytes);

/** Removes what an older export left: the files its bundle.json lists. */
function clear(folder: string): void {
  const path = join(folder, BUNDLE_FILE);
  if (!existsSync(path)) return;
  const old = bundleSchema.safeParse(JSON.parse(readFileSync(path, "utf8")));
  if (old.success) for (const file of bundleFiles(old.data)) rmSync(join(folder, file.path), { force: true });
  rmSync(path);
}

/** Every file of a bundle but bundle.json. */
export function bundleFiles(bundle: Bundle): BundleFile[] {
  const graphs = [bundle.rim, ...bundle.segments].flatMap((part) => [part.graph, ...part.weights]);
  const { tokenizer, config } = bundle.tokenizer;
  return [...graphs, bundle.whole, tokenizer, config, ...(bundle.router === undefined ? [] : [bundle.router])];
}

function shapeOf(model: Checkpoint): Bundle["shape"] {
  return {
    layers: model.layers,
    hidden_size: model.hiddenSize,
    heads: model.heads,
    kv_heads: model.kvHeads,
    head_dim: model.headDim,
    vocab_size: model.vocabulary,
    context_length: model.contextLength,
  };
}

/**
 * Exports a checkpoint. bundle.json is written last, so a folder without it is no bundle.
 * @throws with the file and field at fault when the checkpoint is not one the graphs can reproduce.
 */
export async function exportBundle(options: ExportOptions): Promise<Bundle> {
  const { checkpoint, out, onProgress } = options;
  const model = readConfig(checkpoint, options);
  const { products } = options;
  const numerics = products === undefined ? NUMERICS[options.numerics] : { pieces: products, whole: products };
  using source = new Safetensors(checkpoint);
  assertAllUsed(source, model);
  mkdirSync(out, { recursive: true });
  clear(out);

  const total = model.exits.length + 2; // segments, rim, fingerprint
  const places: Places = new Map();
  onProgress?.(0, total, "embedding and head");
  const rim = writeGraph(out, "rim", places, (weights) => rimGraph(model, source, numerics.pieces, weights));
  const segments = model.exits.map((exit, i) => {
    const first = model.exits[i - 1] ?? 0;
    onProgress?.(i + 1, total, `layers ${first + 1} to ${exit}`);
    const built = writeGraph(out, `segment-${i + 1}`, places, (weights) =>
      segmentGraph(model, source, numerics.pieces, { first, last: exit }, weights),
    );
    return { first_layer: first + 1, last_layer: exit, ...built };
  });
  const whole = wholeGraph(model, source, numerics.whole, new WrittenWeights(places));
  onProgress?.(total - 1, total, "fingerprint");
  const made = await fingerprint(checkpoint);
  const router = routerFile(checkpoint, made);
  const bundle = bundleSchema.parse({
    format: BUNDLE_FORMAT,
    name: options.name ?? basename(resolve(checkpoint)),
    fingerprint: made,
    numerics: options.numerics,
    shape: shapeOf(model),
    exits: model.exits,
    eos_token_ids: model.eosTokenIds,
    rim,
    segments,
    whole: writeFile(out, "whole.onnx", whole),
    tokenizer: {
      tokenizer: writeCopied(out, tokenizerFile(checkpoint)),
      config: writeCopied(out, configFile(checkpoint)),
    },
    ...(router === undefined ? {} : { router: writeCopied(out, router) }),
  });
  writeFileSync(join(out, BUNDLE_FILE), `${JSON.stringify(bundle, null, 2)}\n`);
  onProgress?.(total, total, "done");
  return bundle;
}
