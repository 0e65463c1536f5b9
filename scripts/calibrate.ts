/** `npm run calibrate`: what each exit gets right on calibration prompts → the gates and their thresholds, router.json. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { exitsAtEdge } from "../src/env.ts";
import { build } from "./build.ts";
import { labelled } from "./calibrate/labels.ts";
import { calibrate, split } from "./calibrate/router-file.ts";
import { readRows } from "./calibrate/rows.ts";
import { BUNDLE, CHECKPOINT } from "./checkpoint.ts";

const HELP = `CHECKPOINT=DIR npm run calibrate [-- options]

Answers calibration prompts at every exit, fits the gates, chooses thresholds for every quality target and range of
exits, and writes router.json beside the checkpoint (now ${CHECKPOINT}). Half of the prompts fit the gates, three tenths choose the
thresholds, two tenths are reported on. Labels are kept in build/calibration: a run that was broken off goes on.

  --rows FILE        chat prompts, one JSON object a line: {"messages": [{"role": "user", "content": "…"}]}. With a
                     "checker" an answer is right when it passes; without, when it says what the deepest exit says.
                     A last message of the assistant is no part of the prompt.       (CHECKPOINT/validation.jsonl)
  --edge-exits 3,6   exits that the edge serves                                      (the first two)
  --help             this text`;

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      rows: { type: "string", default: join(CHECKPOINT, "validation.jsonl") },
      "edge-exits": { type: "string" },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) return console.log(HELP);
  const bundle = await build();
  const named = values["edge-exits"]?.split(",").map(Number) ?? null;
  const edgeExits = exitsAtEdge({ edgeExits: named }, bundle.exits);
  if (named !== null && edgeExits.length < named.length)
    throw new Error(`--edge-exits: the bundle's exits are ${bundle.exits.join(", ")}`);
  const rows = readRows(values.rows);
  const started = performance.now();
  const samples = await labelled(bundle, BUNDLE, rows);
  const file = calibrate(split(samples), bundle, edgeExits);
  const path = join(CHECKPOINT, "router.json");
  writeFileSync(path, `${JSON.stringify(file, null, 1)}\n`);
  const seconds = ((performance.now() - started) / 1000).toFixed(0);
  console.log(`${path}: ${rows.length} prompts, ${bundle.exits.length} exits, ${seconds} s`);
  console.log(JSON.stringify(file.report));
}

try {
  await main();
} catch (error) {
  console.error(`calibrate: ${(error as Error).message}`);
  process.exitCode = 1;
}
