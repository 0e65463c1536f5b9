/** `npm run export`: a Hugging Face checkpoint → the bundle that both tiers load. */
import { parseArgs } from "node:util";
import { BUNDLE, CHECKPOINT } from "./checkpoint.ts";
import { exportBundle } from "./export/bundle.ts";
import { progressLine } from "./export/progress.ts";

const HELP = `CHECKPOINT=DIR npm run export [-- options]

Makes the bundle of a checkpoint, a Hugging Face folder (now ${CHECKPOINT}): config.json, *.safetensors, tokenizer.json,
tokenizer_config.json and, where there are, chat_template.jinja and router.json. \`npm run build\` does it with these
defaults, and keeps what an export has put into ${BUNDLE} as long as the checkpoint stays the same.

  --out DIR             where the bundle goes (default ${BUNDLE}, with fp32 ${BUNDLE}-fp32)
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
  const { numerics, exits } = values;
  if (numerics !== "w8a8" && numerics !== "fp32") throw new Error(`--numerics: "${numerics}" is neither w8a8 nor fp32`);
  const context = values["context-length"];
  const out = values.out ?? (numerics === "fp32" ? `${BUNDLE}-fp32` : BUNDLE);
  const bundle = await exportBundle({
    checkpoint: CHECKPOINT,
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
