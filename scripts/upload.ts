/** `npx sortie upload`: the edge's weights to R2, so that a deployment carries none of them as static assets. */
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { exitsAtEdge } from "../src/env.ts";
import { weightsKey } from "../src/model/bundle.ts";
import { build } from "./build.ts";
import { BUNDLE } from "./checkpoint.ts";
import { edgeWeights, writeAssets } from "./upload/weights.ts";

/** What is deployed in the bundle's place. */
const ASSETS = "build/assets";
const WRANGLER = join(import.meta.dirname, "..", "node_modules", ".bin", "wrangler");

const HELP = `CHECKPOINT=DIR npx sortie upload [options]

Puts the weights that the edge reads into R2, and the rest of the bundle into ${ASSETS}, for
\`npx wrangler deploy --env NAME --assets ${ASSETS}\`. Each object is named by its content: nothing is overwritten, an older
deployment finds its own.

  --bucket NAME      the bucket that wrangler.toml binds as MODEL (sortie-model)
  --edge-exits 3,6   exits that the edge serves (the first two)
  --local            into the R2 of \`npx wrangler dev\` on this computer
  --help             this text`;

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      bucket: { type: "string", default: "sortie-model" },
      "edge-exits": { type: "string" },
      local: { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) return console.log(HELP);
  const bundle = await build();
  const exits = exitsAtEdge({ edgeExits: values["edge-exits"]?.split(",").map(Number) ?? null }, bundle.exits);
  const weights = edgeWeights(bundle, exits);
  for (const { path, sha256 } of weights) {
    const put = ["r2", "object", "put", `${values.bucket}/${weightsKey(sha256)}`, "--file", join(BUNDLE, path)];
    const { status } = spawnSync(WRANGLER, [...put, values.local ? "--local" : "--remote"], { stdio: "inherit" });
    if (status !== 0) throw new Error(`${path} was not uploaded`);
  }
  writeAssets(BUNDLE, ASSETS, bundle);
  const bytes = weights.reduce((sum, file) => sum + file.bytes, 0);
  const told = `${weights.length} files, ${(bytes / 1e6).toFixed(1)} MB of exits ${exits.join(", ")}`;
  console.log(`${values.bucket}: ${told}; ${ASSETS}: the rest of ${bundle.name} ${bundle.fingerprint}`);
}

try {
  await main();
} catch (error) {
  console.error(`upload: ${(error as Error).message}`);
  process.exitCode = 1;
}
