/** `npm run build`: the checkpoint's bundle in build/bundle, made when it is missing or not of this checkpoint, and the pages. */
import { parseArgs } from "node:util";
import type { Bundle } from "../src/model/bundle.ts";
import { currentBundle } from "./build/current.ts";
import { buildPages } from "./build/pages.ts";
import { BUNDLE, CHECKPOINT } from "./checkpoint.ts";
import { exportBundle } from "./export/bundle.ts";
import { hasChatTemplate, TEMPLATE_FILE } from "./export/copied.ts";
import { progressLine } from "./export/progress.ts";

const HELP = `CHECKPOINT=DIR npm run build [-- --force]

Makes ${BUNDLE} from a checkpoint, unless it is there already and belongs to it. CHECKPOINT is its folder (now
${CHECKPOINT}); every command that builds, calibrates or serves reads it. Other options: npm run export -- --help

  --force   make it anew in any case
  --help    this text`;

/** The checkpoint's bundle, made first if need be. @throws Error as `exportBundle`, and where there is no chat template */
export async function build(force = false): Promise<Bundle> {
  if (!hasChatTemplate(CHECKPOINT)) {
    throw new Error(`${CHECKPOINT} has no chat template: put one beside it as ${TEMPLATE_FILE}`);
  }
  const bundle =
    (force ? null : await currentBundle(CHECKPOINT, BUNDLE)) ??
    (await exportBundle({
      checkpoint: CHECKPOINT,
      out: BUNDLE,
      numerics: "w8a8",
      onProgress: progressLine(process.stderr),
    }));
  await buildPages(BUNDLE);
  return bundle;
}

if (import.meta.main) {
  const { values } = parseArgs({ options: { force: { type: "boolean" }, help: { type: "boolean" } } });
  try {
    if (values.help) console.log(HELP);
    else {
      const { name, fingerprint, numerics, exits } = await build(values.force);
      console.log(`${BUNDLE}: ${name} ${fingerprint}, ${numerics}, exits ${exits.join(", ")}`);
    }
  } catch (error) {
    console.error(`build: ${(error as Error).message}`);
    process.exitCode = 1;
  }
}
