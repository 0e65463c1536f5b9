/** `npm run calibrate`: what each exit gets right on calibration prompts → the gates and their thresholds, router.json. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { openBundle } from "../src/model/bundle.ts";
import { folderSource } from "../src/model/node-source.ts";
import { build } from "./build.ts";
import { labelled } from "./calibrate/labels.ts";
import { calibrate, split } from "./calibrate/router-file.ts";
import { readRows } from "./calibrate/rows.ts";

const HELP = `npm run calibrate [-- options]

Answers calibration prompts at every exit, fits the gates, chooses thresholds for every quality target and range of
exits, and writes router.json beside the checkpoint. Half of the prompts fit the gates, three tenths choose the
thresholds, two tenths are reported on. Labels are kept in build/calibration: a run that was broken off goes on.

  --checkpoint DIR   the bundle's checkpoint          (models/tiny)
  --bundle DIR       its bundle                       (build/bundle, built if missing)
  --rows FILE        chat prompts, one JSON object a line: {"messages": [{"role": "user", "content": "…"}]}. With a
                     "checker" an answer is right when it passes; without, when it says what the deepest exit says.
                     A last message of the assistant is no part of the prompt.       (CHECKPOINT/validation.jsonl)
  --edge-exits 3,6   exits that the edge serves
  --help             this text`;

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      checkpoint: { type: "string", default: "models/tiny" },
      bundle: { type: "string", default: "build/bundle" },
      rows: { type: "string" },
      "edge-exits": { type: "string", default: "3,6" },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) return console.log(HELP);
  if (values.bundle === "build/bundle") await build();
  const bundle = await openBundle(folderSource(values.bundle));
  const edgeExits = values["edge-exits"].split(",").map(Number);
  const unknown = edgeExits.find((exit) => !bundle.exits.includes(exit));
  if (unknown !== undefined) throw new Error(`--edge-exits: the bundle's exits are ${bundle.exits.join(", ")}`);
  const rows = readRows(values.rows ?? join(values.checkpoint, "validation.jsonl"));
  const started = performance.now();
  const samples = await labelled(bundle, values.bundle, rows);
  const file = calibrate(split(samples), bundle, edgeExits);
  const path = join(values.checkpoint, "router.json");
  writeFileSync(path, `${JSON.stringify(file, null, 1)}\n`);
  const seconds = ((performance.now() - started) / 1000).toFixed(0);
  console.log(`${path}: ${rows.length} prompts, ${bundle.exits.length} exits, ${seconds} s`);
  console.log(JSON.stringify(file.report));
}

await main();
