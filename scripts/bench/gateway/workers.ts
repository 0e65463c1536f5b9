/** The built Worker and the probe beside it, in one workerd, each on a socket of its own: no development proxy between. */
import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { convertV4MiniflareOptions, Miniflare, Response, type V4WorkerOptions } from "miniflare";
import { unstable_getMiniflareWorkerOptions } from "wrangler";
import { builtModules } from "../../built-modules.ts";
import { BUNDLE } from "../../checkpoint.ts";
import { childrenRunning } from "./cpu.ts";

const CONFIG = "wrangler.toml";
const PROBE_CONFIG = "scripts/bench/gateway/probe/wrangler.toml";
/** The runtime's program, as the system names it. */
const RUNTIME = "workerd";
const TOKEN_BYTES = 24;

export interface Workers {
  /** `http://127.0.0.1:PORT` of the built Worker. */
  readonly sortie: string;
  readonly probe: string;
  readonly adminToken: string;
  /** Of workerd; null when it is not known. */
  readonly pid: number | null;
  stop(): Promise<void>;
}

/**
 * @param storage folder in which the objects' storage is made; it goes with this process
 * @param variables the Worker's, over those of wrangler.toml
 * @param upstream address of the null upstream, for the probe
 * @param bundle folder of the model's files
 */
export async function startWorkers(
  storage: string,
  variables: Readonly<Record<string, string>>,
  upstream: string,
  bundle = BUNDLE,
): Promise<Workers> {
  const state = mkdtempSync(join(storage, "sortie-bench-"));
  process.once("exit", () => rmSync(state, { recursive: true, force: true })); // however the benchmark ends
  const adminToken = randomBytes(TOKEN_BYTES).toString("hex");
  const others = childrenRunning(RUNTIME);
  const sortie = await workerOptions(CONFIG, "sortie");
  const probe = await workerOptions(PROBE_CONFIG, "probe");
  // A plain binding in place of local assets, whose router would stand before every request.
  const { assets: _, ...withoutAssets } = sortie;
  const options = convertV4MiniflareOptions({
    host: "127.0.0.1",
    port: 0,
    cf: false,
    resourcePersistencePath: state,
    handleStructuredLogs: ({ level, message }) => {
      if (level === "error") process.stderr.write(`${message}\n`);
    },
    workers: [
      {
        ...withoutAssets,
        bindings: { ...sortie.bindings, ADMIN_TOKEN: adminToken, ...variables },
        serviceBindings: { ASSETS: async ({ url }) => new Response(await bundleFile(bundle, url)) },
      },
      {
        ...probe,
        bindings: { UPSTREAM: upstream },
        durableObjects: {
          TENANT: { className: "TenantLedger", scriptName: "sortie", useSQLite: true },
          DIRECTORY: { className: "TenantDirectory", scriptName: "sortie", useSQLite: true },
        },
      },
    ],
  });
  const miniflare = new Miniflare(options);
  const address = async (worker: string) => (await miniflare.unsafeGetDirectURL(worker)).origin;
  return {
    sortie: await address("sortie"),
    probe: await address("probe"),
    adminToken,
    pid: childrenRunning(RUNTIME).find((id) => !others.includes(id)) ?? null,
    stop: () => miniflare.dispose(),
  };
}

/** What wrangler would run, as miniflare's options. */
async function workerOptions(config: string, name: string): Promise<V4WorkerOptions> {
  const { workerOptions: options } = unstable_getMiniflareWorkerOptions(config);
  const modules = await builtModules(config);
  return {
    ...options,
    name,
    modules: modules.map(({ path, type, contents }) => ({
      path,
      type: type === "esm" ? "ESModule" : "CompiledWasm",
      contents,
    })),
    unsafeDirectSockets: [{ host: "127.0.0.1", port: 0 }],
  } as V4WorkerOptions;
}

function bundleFile(bundle: string, url: string): Promise<Uint8Array<ArrayBuffer>> {
  return readFile(join(bundle, new URL(url).pathname.slice(1)));
}
