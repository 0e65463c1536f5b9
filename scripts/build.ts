/** `npm run build`: the checkpoint's bundle in build/bundle, made when it is missing or not of this checkpoint, and the pages. */
import { parseArgs } from "node:util";
import type { Bundle } from "../src/model/bundle.ts";
import { assertNoDeployment, configuredCheckpoint, deploymentFault } from "./build/configured.ts";
import { currentBundle } from "./build/current.ts";
import { buildPages } from "./build/pages.ts";
import { BUNDLE, CHECKPOINT } from "./checkpoint.ts";
import { exportBundle } from "./export/bundle.ts";
import { hasChatTemplate, TEMPLATE_FILE } from "./export/copied.ts";
import { progressLine } from "./export/progress.ts";

const HELP = `CHECKPOINT=DIR npm run build [-- --force] [--env NAME]

Makes ${BUNDLE} from a checkpoint, unless it is there already and belongs to it. CHECKPOINT is its folder (now
${CHECKPOINT}); every command that builds, calibrates or serves reads it. Other options: npm run export -- --help

  --force      make it anew in any case
  --env NAME   for a deployment: of the checkpoint that wrangler.toml names for this environment, and of no other
  --help       this text`;

/** The checkpoint's bundle, made first if need be. @throws Error as `exportBundle`, and where there is no chat template */
export async function build(force = false, checkpoint = CHECKPOINT): Promise<Bundle> {
  if (!hasChatTemplate(checkpoint)) {
    throw new Error(`${checkpoint} has no chat template: put one beside it as ${TEMPLATE_FILE}`);
  }
  const bundle =
    (force ? null : await currentBundle(checkpoint, BUNDLE)) ??
    (await exportBundle({
      checkpoint,
      out: BUNDLE,
      numerics: "w8a8",
      onProgress: progressLine(process.stderr),
    }));
  await buildPages(BUNDLE);
  return bundle;
}

/** The bundle that an environment deploys. @throws Error where it is of another checkpoint than wrangler.toml names */
async function buildFor(environment: string, force: boolean): Promise<Bundle> {
  const configured = configuredCheckpoint(environment);
  const bundle = await build(force, configured.checkpoint);
  const fault = deploymentFault(environment, configured, process.env["CHECKPOINT"] ?? "", bundle.fingerprint);
  if (fault !== null) throw new Error(fault);
  return bundle;
}

if (import.meta.main) {
  const { values } = parseArgs({
    options: { force: { type: "boolean", default: false }, env: { type: "string" }, help: { type: "boolean" } },
  });
  try {
    if (values.help) console.log(HELP);
    else {
      if (values.env === undefined) assertNoDeployment(process.env);
      const made = values.env === undefined ? build(values.force) : buildFor(values.env, values.force);
      const { name, fingerprint, numerics, exits } = await made;
      console.log(`${BUNDLE}: ${name} ${fingerprint}, ${numerics}, exits ${exits.join(", ")}`);
    }
  } catch (error) {
    console.error(`build: ${(error as Error).message}`);
    process.exitCode = 1;
  }
}
