/** `npm run export`: a Hugging Face checkpoint → the bundle that both tiers load. */
import { parseArgs } from "node:util";
import { exportBundle } from "./export/bundle.ts";
import { progressLine } from "./export/progress.ts";

const HELP = `Usage: npm run export -- --checkpoint DIR [options]

  --checkpoint DIR      Hugging Face folder: config.json, *.safetensors, tokenizer.json, tokenizer_config.json
  --out DIR             where the bundle goes (default build/bundle, with fp32 build/bundle-fp32)
  --numerics w8a8|fp32  8-bit weights and activations (default), or the float32 reference
  --exits 3,6,9         depths to stop at (default: sorted_exits of config.json, else the last layer)
  --context-length N    longest sequence in tokens (default: max_position_embeddings)
  --name NAME           public model name (default: the folder's)
  --help                this text
`;

function positive(option: string, text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value <= 0) throw new Error(`--${option}: "${text}" is not a positive integer`);
  return value;
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      checkpoint: { type: "string" },
      out: { type: "string" },
      numerics: { type: "string", default: "w8a8" },
      exits: { type: "string" },
      "context-length": { type: "string" },
      name: { type: "string" },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) {
    process.stdout.write(HELP);
    return;
  }
  const { checkpoint, numerics, exits } = values;
  if (checkpoint === undefined) throw new Error("--checkpoint is missing (see --help)");
  if (numerics !== "w8a8" && numerics !== "fp32") throw new Error(`--numerics: "${numerics}" is neither w8a8 nor fp32`);
  const context = values["context-length"];
  const out = values.out ?? (numerics === "fp32" ? "build/bundle-fp32" : "build/bundle");
  const bundle = await exportBundle({
    checkpoint,
    out,
    numerics,
    name: values.name,
    exits: exits?.split(",").map((exit) => positive("exits", exit)),
    contextLength: context === undefined ? undefined : positive("context-length", context),
    onProgress: progressLine(process.stderr),
  });
  process.stdout.write(
    `${out}: ${bundle.name}, ${bundle.numerics}, exits ${bundle.exits.join(", ")}, ${bundle.fingerprint}\n`,
  );
}

try {
  await main();
} catch (error) {
  process.stderr.write(`export: ${(error as Error).message}\n`);
  process.exitCode = 1;
}
