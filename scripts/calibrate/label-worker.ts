/** A thread that labels rows: one engine, one core. Started by labels.ts. */
import { parentPort, workerData } from "node:worker_threads";
import { readCatalogue } from "../../src/catalogue.ts";
import { loadEngine } from "../../src/model/engine.ts";
import { folderSource } from "../../src/model/node-source.ts";
import { nodeRuntime } from "../../src/model/runtime-node.ts";
import { labelRow } from "./label.ts";
import type { Row } from "./rows.ts";

const source = folderSource(workerData as string);
const catalogue = await readCatalogue(source);
const engine = await loadEngine({ bundle: catalogue.bundle, source, runtime: nodeRuntime({ threads: 1 }) });

parentPort?.on("message", (row: Row | null) => {
  if (row === null) return void engine.dispose().then(() => parentPort?.close());
  void labelRow(engine, catalogue, row).then(
    (labels) => parentPort?.postMessage({ row: row.key, labels }),
    (error: unknown) => parentPort?.postMessage({ row: row.key, error: String(error) }),
  );
});
