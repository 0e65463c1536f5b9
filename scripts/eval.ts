/** `npm run eval`: exact match and NLL of every exit of a bundle, by split and family. */
import { parseArgs } from "node:util";
import { readCatalogue } from "../src/catalogue.ts";
import { loadEngine } from "../src/model/engine.ts";
import { folderSource } from "../src/model/node-source.ts";
import { nodeRuntime } from "../src/model/runtime-node.ts";
import { readRows } from "./calibrate/rows.ts";
import { type Score, scoreRow, summarise, thin } from "./eval/measure.ts";
import { progressLine } from "./export/progress.ts";

const HELP = `npm run eval [-- options]

Answers chat rows at every exit of a bundle. Prints a table (exact match · NLL in nats), then one JSON line.

  --bundle DIR   made by npm run export      (build/bundle)
  --rows FILE    chat rows with checkers     (models/tiny/test.jsonl)
  --limit N      at most N rows, evenly taken (all)
  --help         this text
`;
/** Rows between two progress lines. */
const PROGRESS_ROWS = 50;

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      bundle: { type: "string", default: "build/bundle" },
      rows: { type: "string", default: "models/tiny/test.jsonl" },
      limit: { type: "string", default: "Infinity" },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) {
    process.stdout.write(HELP);
    return;
  }
  const limit = Number(values.limit);
  if (!(limit >= 1)) throw new Error(`--limit: "${values.limit}" is not a positive number`);
  const source = folderSource(values.bundle);
  const catalogue = await readCatalogue(source);
  const engine = await loadEngine({ bundle: catalogue.bundle, source, runtime: nodeRuntime({ threads: 1 }) });
  const rows = thin(readRows(values.rows), limit);
  const progress = progressLine(process.stderr);
  const scores: Score[] = [];
  for (const [done, row] of rows.entries()) {
    if (done % PROGRESS_ROWS === 0) progress(done, rows.length, "rows");
    scores.push(...(await scoreRow(engine, catalogue, row)));
  }
  progress(rows.length, rows.length, "rows");
  await engine.dispose();

  const { name, numerics, fingerprint } = catalogue.bundle;
  const summary = summarise(scores);
  const exits = engine.exits.map(String);
  console.log(["group".padEnd(24), "rows".padStart(5), ...exits.map((exit) => `exit ${exit}`.padStart(16))].join(" "));
  for (const [group, cells] of Object.entries(summary)) {
    const shown = exits.map((exit) => {
      const { exactMatch, nll } = cells[exit]!;
      return `${(exactMatch * 100).toFixed(1)} % · ${nll.toFixed(4)}`.padStart(16);
    });
    console.log([group.padEnd(24), String(cells[exits[0]!]!.rows).padStart(5), ...shown].join(" "));
  }
  console.log(JSON.stringify({ name, fingerprint, numerics, rows: values.rows, summary }));
}

await main();
