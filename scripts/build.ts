/** `npm run build`: the bundle of models/tiny in build/bundle, made when it is missing or not of this checkpoint, and the pages. */
import { createHash } from "node:crypto";
import { existsSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { bundleSchema, type Bundle } from "../src/model/bundle.ts";
import { buildPages } from "./build/pages.ts";
import { bundleFiles, exportBundle } from "./export/bundle.ts";
import { fingerprint } from "./export/fingerprint.ts";
import { progressLine } from "./export/progress.ts";

const CHECKPOINT = "models/tiny";
const BUNDLE = "build/bundle";

const HELP = `npm run build [-- --force]

Makes ${BUNDLE} from ${CHECKPOINT}, unless it is there already and belongs to that checkpoint.
For another checkpoint or other options: npm run export -- --help

  --force   make it anew in any case
  --help    this text`;

/** The bundle of the repository's checkpoint, made first if need be. @throws Error as `exportBundle` */
export async function build(force = false): Promise<Bundle> {
  const bundle =
    (force ? null : await currentBundle()) ??
    (await exportBundle({
      checkpoint: CHECKPOINT,
      out: BUNDLE,
      numerics: "w8a8",
      onProgress: progressLine(process.stderr),
    }));
  await buildPages(BUNDLE);
  return bundle;
}

/** The bundle on disk when it is whole and made from the files that stand in the checkpoint's folder now. */
async function currentBundle(): Promise<Bundle | null> {
  const manifest = join(BUNDLE, "bundle.json");
  if (!existsSync(manifest)) return null;
  const parsed = bundleSchema.safeParse(JSON.parse(readFileSync(manifest, "utf8")));
  if (!parsed.success) return null;
  const bundle = parsed.data;
  const whole = bundleFiles(bundle).every(({ path, bytes }) => {
    const file = statSync(join(BUNDLE, path), { throwIfNoEntry: false });
    return file?.size === bytes;
  });
  const copied = [
    bundle.tokenizer.tokenizer,
    bundle.tokenizer.config,
    bundle.router ?? { path: "router.json", sha256: null },
  ];
  const unchanged = copied.every(({ path, sha256 }) => digest(join(CHECKPOINT, path)) === sha256);
  return whole && unchanged && bundle.fingerprint === (await fingerprint(CHECKPOINT)) ? bundle : null;
}

/** SHA-256 of a file in hex; null when it is missing. */
function digest(path: string): string | null {
  return existsSync(path) ? createHash("sha256").update(readFileSync(path)).digest("hex") : null;
}

if (import.meta.main) {
  const { values } = parseArgs({ options: { force: { type: "boolean" }, help: { type: "boolean" } } });
  if (values.help) console.log(HELP);
  else {
    const bundle = await build(values.force);
    console.log(
      `${BUNDLE}: ${bundle.name} ${bundle.fingerprint}, ${bundle.numerics}, exits ${bundle.exits.join(", ")}`,
    );
  }
}
