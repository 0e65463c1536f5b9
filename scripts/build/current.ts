/** Whether a bundle on disk is the one that its checkpoint would give now. */
import { createHash } from "node:crypto";
import { existsSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { BUNDLE_MANIFEST, bundleSchema, type Bundle } from "../../src/model/bundle.ts";
import { bundleFiles } from "../export/bundle.ts";
import { configFile, routerFile, tokenizerFile } from "../export/copied.ts";
import { fingerprint } from "../export/fingerprint.ts";

/**
 * The bundle in `folder`; null when it is not whole, or not made from the files that stand in the checkpoint's folder now.
 * @throws Error when the checkpoint cannot be read
 */
export async function currentBundle(checkpoint: string, folder: string): Promise<Bundle | null> {
  const manifest = join(folder, BUNDLE_MANIFEST);
  if (!existsSync(manifest)) return null;
  const parsed = bundleSchema.safeParse(JSON.parse(readFileSync(manifest, "utf8")));
  if (!parsed.success) return null;
  const bundle = parsed.data;
  const whole = bundleFiles(bundle).every(({ path, bytes }) => {
    const file = statSync(join(folder, path), { throwIfNoEntry: false });
    return file?.size === bytes;
  });
  const made = await fingerprint(checkpoint);
  const unchanged =
    bundle.fingerprint === made &&
    bundle.tokenizer.tokenizer.sha256 === digest(tokenizerFile(checkpoint).bytes) &&
    bundle.tokenizer.config.sha256 === digest(configFile(checkpoint).bytes) &&
    bundle.router?.sha256 === digest(routerFile(checkpoint, made)?.bytes);
  return whole && unchanged ? bundle : null;
}

/** SHA-256 in hex; undefined of what is not there. */
function digest(bytes: Uint8Array | undefined): string | undefined {
  return bytes && createHash("sha256").update(bytes).digest("hex");
}
