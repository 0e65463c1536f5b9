/** Configurations for `npm run dev -- --otlp`: wrangler.toml with a listener for the Worker's spans, and the listener's own. */
import { mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { parse } from "smol-toml";

const CONFIG = "wrangler.toml";
/** A Worker that is never deployed: in production the platform exports spans itself. */
const LISTENER = { name: "sortie-otlp", main: "scripts/dev/otlp-tail.ts" };

/**
 * @param collector base address
 * @returns options of `wrangler dev`; the paths in the files are absolute, so they may lie anywhere
 */
export function tracedOptions(collector: string): string[] {
  const folder = mkdtempSync(join(tmpdir(), "sortie-traced-"));
  const config = parse(readFileSync(CONFIG, "utf8")) as Record<string, unknown> & {
    main: string;
    compatibility_date: string;
    assets: { directory: string };
    build: object;
  };
  const traced = {
    ...config,
    main: resolve(config.main),
    assets: { ...config.assets, directory: resolve(config.assets.directory) },
    build: { ...config.build, cwd: resolve("."), watch_dir: resolve("src") },
    streaming_tail_consumers: [{ service: LISTENER.name }],
  };
  const listener = {
    name: LISTENER.name,
    main: resolve(LISTENER.main),
    compatibility_date: config.compatibility_date,
    compatibility_flags: ["experimental"],
    vars: { OTLP_URL: collector },
  };
  return Object.entries({ traced, listener }).flatMap(([name, content]) => {
    const path = join(folder, `${name}.json`);
    writeFileSync(path, JSON.stringify(content));
    return ["--config", path];
  });
}
