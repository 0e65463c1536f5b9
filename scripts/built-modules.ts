/** A Worker's modules as wrangler would upload them. */
import { execFile } from "node:child_process";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { BUILD_ONLY } from "./build/configured.ts";

export interface BuiltModule {
  /** File name; the main module comes first. */
  readonly path: string;
  readonly type: "esm" | "wasm";
  readonly contents: string | Uint8Array<ArrayBuffer>;
}

/** @param config path of a wrangler.toml. @throws Error with wrangler's output when it does not build */
export async function builtModules(config: string): Promise<BuiltModule[]> {
  const out = await mkdtemp(join(tmpdir(), "sortie-worker-"));
  try {
    const wrangler = createRequire(import.meta.url)
      .resolve("wrangler/package.json")
      .replace("package.json", "bin/wrangler.js");
    const options = ["deploy", "--dry-run", "--outdir", out, "--config", config];
    await promisify(execFile)(process.execPath, [wrangler, ...options], {
      env: { ...process.env, WRANGLER_SEND_METRICS: "false", [BUILD_ONLY]: "1" },
    });
    const modules: BuiltModule[] = [];
    for (const path of await readdir(out)) {
      if (path.endsWith(".js"))
        modules.unshift({ path, type: "esm", contents: await readFile(join(out, path), "utf8") });
      if (path.endsWith(".wasm"))
        modules.push({ path, type: "wasm", contents: new Uint8Array(await readFile(join(out, path))) });
    }
    return modules;
  } finally {
    await rm(out, { recursive: true });
  }
}
