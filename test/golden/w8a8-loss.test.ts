/** What 8 bits cost on models/tiny: exact match and NLL of both numerics over the same test rows. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, it } from "vitest";
import { readRows } from "../../scripts/calibrate/rows.ts";
import { type Cell, type Score, scoreRow, summarise, thin } from "../../scripts/eval/measure.ts";
import { exportBundle } from "../../scripts/export/bundle.ts";
import { readCatalogue } from "../../src/catalogue.ts";
import { loadEngine } from "../../src/model/engine.ts";
import { folderSource } from "../../src/model/node-source.ts";
import { nodeRuntime } from "../../src/model/runtime-node.ts";

const ROOT = join(import.meta.dirname, "../..");
const CHECKPOINT = join(ROOT, "models/tiny");
const ROWS = join(CHECKPOINT, "test.jsonl");

/** Rows of the test split, evenly taken; all of them: `npm run eval`, once for each numerics. */
const SAMPLE = 600;
/** One point of exact match; the last digits are room for the subtraction's own rounding. */
const EXACT_MATCH_LOSS = 0.01 + 1e-9;
/** Nats per token of the reference answers. */
const NLL_LOSS = 0.01;

const absent = [join(CHECKPOINT, "model.safetensors"), ROWS].filter((path) => !existsSync(path));
if (absent.length > 0) console.log(`skipped: ${absent.join(" and ")} not there`);

describe.skipIf(absent.length > 0)("w8a8 against float32", () => {
  let cells: Record<"fp32" | "w8a8", Record<string, Cell>>;

  async function measure(numerics: "fp32" | "w8a8"): Promise<Record<string, Cell>> {
    const out = join(ROOT, "build/golden", `loss-${numerics}`);
    await exportBundle({ checkpoint: CHECKPOINT, out, numerics });
    const source = folderSource(out);
    const catalogue = await readCatalogue(source);
    const engine = await loadEngine({ bundle: catalogue.bundle, source, runtime: nodeRuntime({ threads: 1 }) });
    const scores: Score[] = [];
    for (const row of thin(readRows(ROWS), SAMPLE)) scores.push(...(await scoreRow(engine, catalogue, row)));
    await engine.dispose();
    return summarise(scores)["all"]!;
  }

  beforeAll(async () => {
    cells = { fp32: await measure("fp32"), w8a8: await measure("w8a8") };
    for (const [exit, { rows, exactMatch, nll }] of Object.entries(cells.fp32)) {
      const eight = cells.w8a8[exit]!;
      const percent = (share: number) => `${(share * 100).toFixed(2)} %`;
      console.log(
        `exit ${exit}, ${rows} rows: exact match ${percent(exactMatch)} → ${percent(eight.exactMatch)}, ` +
          `NLL ${nll.toFixed(4)} → ${eight.nll.toFixed(4)}`,
      );
    }
  });

  it("answers as many rows right, to within a point, at every exit", () => {
    for (const [exit, { exactMatch }] of Object.entries(cells.fp32)) {
      expect(exactMatch - cells.w8a8[exit]!.exactMatch, `exit ${exit}`).toBeLessThanOrEqual(EXACT_MATCH_LOSS);
    }
  });

  it("is as sure of the reference answers, to within 0.01 nats, at every exit", () => {
    for (const [exit, { nll }] of Object.entries(cells.fp32)) {
      expect(cells.w8a8[exit]!.nll - nll, `exit ${exit}`).toBeLessThanOrEqual(NLL_LOSS);
    }
  });
});
