/** A bundle in two parts: weights for R2, and the rest for static assets. */
import { cpSync, rmSync } from "node:fs";
import { relative } from "node:path";
import type { Bundle, BundleFile, BundleGraph } from "../../src/model/bundle.ts";

/** Weights that the Worker reads: the rim's, and those of the layers up to its deepest exit. @param exits of the edge */
export function edgeWeights({ rim, segments }: Bundle, exits: readonly number[]): BundleFile[] {
  const deepest = Math.max(0, ...exits);
  const read: BundleGraph[] = [rim, ...segments.filter(({ last_layer: last }) => last <= deepest)];
  return read.flatMap(({ weights }) => weights);
}

/** Copies a bundle, its pages too, without weights. @param out folder; what was in it goes */
export function writeAssets(folder: string, out: string, { rim, segments }: Bundle): void {
  const weights = new Set([rim, ...segments].flatMap((graph) => graph.weights.map(({ path }) => path)));
  rmSync(out, { recursive: true, force: true });
  cpSync(folder, out, { recursive: true, filter: (source) => !weights.has(relative(folder, source)) });
}
