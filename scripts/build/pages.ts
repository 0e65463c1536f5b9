/** The pages of web/ as files that the Worker serves: bundled, minified, beside the model's files. */
import { copyFile, mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { build } from "esbuild";

const SOURCE = "web";
/** In the bundle's folder; src/routes/pages.ts serves it. */
const FOLDER = "pages";
/** What needs no building. */
const STATIC = ["playground.html", "admin.html", "icon.svg"];

/** @param bundle folder of the bundle. @throws Error with esbuild's message when a page does not build */
export async function buildPages(bundle: string): Promise<void> {
  const out = join(bundle, FOLDER);
  await rm(out, { recursive: true, force: true });
  await mkdir(out, { recursive: true });
  await build({
    entryPoints: {
      playground: join(SOURCE, "playground/main.tsx"),
      admin: join(SOURCE, "admin/main.tsx"),
      style: join(SOURCE, "style.css"),
    },
    outdir: out,
    bundle: true,
    splitting: true,
    format: "esm",
    minify: true,
    target: "es2022",
    tsconfig: join(SOURCE, "tsconfig.json"),
    logLevel: "warning",
  });
  for (const name of STATIC) await copyFile(join(SOURCE, name), join(out, name));
}
