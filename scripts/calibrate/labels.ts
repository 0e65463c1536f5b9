/** Labels of many rows: made by a thread a core, kept in a file that an interrupted run goes on from. */
import { appendFileSync, existsSync, mkdirSync, readFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { Worker } from "node:worker_threads";
import type { Bundle } from "../../src/model/bundle.ts";
import { progressLine } from "../export/progress.ts";
import { decodeLabels, encodeLabels } from "./label-codec.ts";
import type { RowLabels } from "./label.ts";
import type { Row } from "./rows.ts";

/** Labels of earlier runs, one file a checkpoint and arithmetic. */
const CACHE = "build/calibration";

export interface Sample {
  readonly row: Row;
  readonly labels: RowLabels;
}

/**
 * Every row with its labels, in the order of the rows. What the cache has is not made again.
 * @param folder of the bundle
 * @throws Error naming the row that cannot be labelled, e.g. one that is longer than the context
 */
export async function labelled(bundle: Bundle, folder: string, rows: readonly Row[]): Promise<Sample[]> {
  const path = join(CACHE, `${bundle.fingerprint}-${bundle.numerics}.jsonl`);
  const known = readCache(path);
  const missing = rows.filter((row) => !known.has(row.key));
  if (missing.length > 0) {
    mkdirSync(CACHE, { recursive: true });
    const progress = progressLine(process.stderr);
    let done = 0;
    await labelInThreads(folder, missing, (row, labels) => {
      known.set(row, labels);
      appendFileSync(path, `${encodeLabels(row, labels)}\n`);
      done += 1;
      if (process.stderr.isTTY || done % 100 === 0 || done === missing.length) {
        progress(done, missing.length, `rows labelled at exits ${bundle.exits.join(", ")}; ${rows.length} in all`);
      }
    });
  }
  return rows.map((row) => {
    const labels = known.get(row.key);
    if (labels === undefined) throw new Error(`row ${row.key} has no labels`);
    return { row, labels };
  });
}

/** A line that a killed run left half-written is made again. */
function readCache(path: string): Map<string, RowLabels> {
  const known = new Map<string, RowLabels>();
  if (!existsSync(path)) return known;
  const text = readFileSync(path, "utf8");
  if (!text.endsWith("\n")) appendFileSync(path, "\n");
  for (const line of text.split("\n")) {
    const entry = decodeLabels(line);
    if (entry !== null) known.set(entry.row, entry.labels);
  }
  return known;
}

type Reply = { readonly row: string; readonly labels?: RowLabels; readonly error?: string };

async function labelInThreads(
  folder: string,
  rows: readonly Row[],
  onRow: (row: string, labels: RowLabels) => void,
): Promise<void> {
  const waiting = [...rows];
  const thread = (): Promise<void> =>
    new Promise((resolve, reject) => {
      const worker = new Worker(fileURLToPath(new URL("./label-worker.ts", import.meta.url).href), {
        workerData: folder,
      });
      worker.on("message", ({ row, labels, error }: Reply) => {
        if (labels === undefined) return reject(new Error(`row ${row}: ${error}`));
        onRow(row, labels);
        worker.postMessage(waiting.shift() ?? null);
      });
      worker.on("error", reject);
      worker.on("exit", () => resolve());
      worker.postMessage(waiting.shift() ?? null);
    });
  await Promise.all(Array.from({ length: Math.min(availableParallelism(), rows.length) }, thread));
}
