/** The models that benchmarks run: the repository's own, and one of SmolLM2-135M's shape with random weights. */
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { BUNDLE_MANIFEST } from "../../src/model/bundle.ts";
import { exportBundle, type ExportOptions } from "../export/bundle.ts";
import { readConfig } from "../export/config.ts";
import { stack, tensorMatrix, type Matrix } from "../export/matrix.ts";
import { WeightFiles } from "../export/onnx/weights.ts";
import { progressLine } from "../export/progress.ts";
import { SHAPES, writeRandomCheckpoint } from "../export/random-checkpoint.ts";
import { Safetensors, SINGLE_FILE } from "../export/safetensors.ts";
import { build } from "../build.ts";
import { BUNDLE, CHECKPOINT } from "../checkpoint.ts";
import { bareProductsGraph } from "./bare-products.ts";
import { fourBit } from "./four-bit.ts";

const BENCH = "build/bench";
const SMOLLM2 = "smollm2-135m";
/** Where `writeProducts` writes. */
export const PRODUCTS_FOLDER = join(BENCH, "products");

/** Name of a model's 4-bit version. */
export const fourBitName = (model: string) => `${model}, 4-bit`;

export interface BenchModel {
  readonly name: string;
  /** Folder of its bundle. */
  readonly bundle: string;
  readonly checkpoint: string;
  readonly exits: readonly number[];
}

/** The served checkpoint's bundle, built if need be: models/tiny's, unless CHECKPOINT says another. */
export async function tiny(): Promise<BenchModel> {
  const { name, exits } = await build();
  return { name, bundle: BUNDLE, checkpoint: CHECKPOINT, exits };
}

function smollm2Checkpoint(): string {
  const checkpoint = join(BENCH, SMOLLM2);
  if (!existsSync(join(checkpoint, SINGLE_FILE))) writeRandomCheckpoint(checkpoint, SHAPES[SMOLLM2]);
  return checkpoint;
}

/** Bundle of SmolLM2-135M's shape. @param keep whether one that is there is taken as it is. */
export async function smollm2(exits: readonly number[], keep: boolean): Promise<BenchModel> {
  const options = { out: join(BENCH, `w8a8-${exits.join("-")}`), numerics: "w8a8", exits } as const;
  return { name: SMOLLM2, ...(await exported(options, keep)) };
}

/** The same with 4-bit `MatMulNBits` in place of the W8A8 products. */
export async function smollm2FourBit(exits: readonly number[], keep: boolean): Promise<BenchModel> {
  const out = join(BENCH, `4-bit-${exits.join("-")}`);
  const options = { out, numerics: "fp32", products: fourBit(), exits } as const; // activations are float32
  return { name: fourBitName(SMOLLM2), ...(await exported(options, keep)) };
}

async function exported(
  options: Omit<ExportOptions, "checkpoint"> & { readonly exits: readonly number[] },
  keep: boolean,
): Promise<Omit<BenchModel, "name">> {
  const checkpoint = smollm2Checkpoint();
  const { out: bundle, exits } = options;
  if (!keep || !existsSync(join(bundle, BUNDLE_MANIFEST))) {
    await exportBundle({ ...options, checkpoint, onProgress: progressLine(process.stderr) });
  }
  return { bundle, checkpoint, exits };
}

export interface Products {
  /** Paths inside PRODUCTS_FOLDER. */
  readonly graph: string;
  readonly weights: readonly string[];
  /** Widths K of its inputs `values.K`. */
  readonly widths: readonly number[];
}

/** Writes the graph of all matrix products that one token decoded at `exit` takes, the head's included. */
export function writeProducts({ name, checkpoint }: BenchModel, exit: number): Products {
  mkdirSync(PRODUCTS_FOLDER, { recursive: true });
  const prefix = `${name}-${exit}`;
  const files = new WeightFiles(PRODUCTS_FOLDER, prefix);
  using source = new Safetensors(checkpoint);
  const matrices = productsOf(checkpoint, source, exit);
  writeFileSync(join(PRODUCTS_FOLDER, `${prefix}.onnx`), bareProductsGraph(matrices, files));
  const widths = [...new Set(matrices.map(({ inputs }) => inputs))];
  return { graph: `${prefix}.onnx`, weights: files.finish().map(({ path }) => path), widths };
}

/** The products as a segment's graph has them: q·k·v and gate·up are one each. */
function productsOf(checkpoint: string, source: Safetensors, exit: number): Matrix[] {
  const model = readConfig(checkpoint);
  const [width, inner] = [model.hiddenSize, model.feedForward];
  const [queries, keys] = [model.heads * model.headDim, model.kvHeads * model.headDim];
  const layers = Array.from({ length: exit }, (_, layer) => {
    const of = (name: string, outputs: number, inputs: number) =>
      tensorMatrix(source, `model.layers.${layer}.${name}.weight`, outputs, inputs);
    return [
      stack([
        of("self_attn.q_proj", queries, width),
        of("self_attn.k_proj", keys, width),
        of("self_attn.v_proj", keys, width),
      ]),
      of("self_attn.o_proj", width, queries),
      stack([of("mlp.gate_proj", inner, width), of("mlp.up_proj", inner, width)]),
      of("mlp.down_proj", width, inner),
    ];
  });
  const head = model.tied ? "model.embed_tokens.weight" : "lm_head.weight";
  return [...layers.flat(), tensorMatrix(source, head, model.vocabulary, width)];
}
