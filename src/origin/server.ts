/** The embedded origin: `sortie-origin/1` on Node, the deeper exits of the bundle the Worker serves. */
import type { Server } from "node:http";
import type { AddressInfo } from "node:net";
import { serve } from "@hono/node-server";
import { BundleError } from "../model/errors.ts";
import { type NodeEngine, startNodeEngine } from "../model/node-client.ts";
import { createOriginApp, type LogLine } from "./server-app.ts";
import { Metrics } from "./server-metrics.ts";
import { RequestQueue } from "./server-queue.ts";
import { HELP, readSettings, type ServerSettings, UsageError } from "./server-settings.ts";
import { OTLP_VARIABLE, traceExporter } from "./server-tracing.ts";
import { importSecret, NonceStore } from "./signing.ts";

/** Milliseconds an upload may take: 32 MiB at 1 MB/s. */
const REQUEST_TIMEOUT_MS = 35_000;
/** Milliseconds for a request's headers. */
const HEADERS_TIMEOUT_MS = 10_000;
/** Milliseconds answers may still take after a signal to end; supervisors kill after 30 s. */
const DRAIN_MS = 25_000;
/** Milliseconds in which one Ctrl-C may arrive twice: from the terminal and from a parent that passes it on. */
const REPEATED_SIGNAL_MS = 1_000;
/** Milliseconds for the last bytes of finished answers, and between looks at what is idle by then. */
const CLOSE_MS = 2_000;
const SWEEP_MS = 20;

try {
  const settings = readSettings(process.argv.slice(2), process.env);
  if (settings === null) console.log(HELP);
  else await start(settings);
} catch (error) {
  if (error instanceof BundleError) {
    console.error(`The bundle cannot be served: ${error.message}\nMake it anew: npm run build -- --force`);
  } else console.error(error instanceof UsageError ? error.message : error);
  process.exit(1);
}

async function start(settings: ServerSettings): Promise<void> {
  const threads = settings.threads === null ? {} : { threads: settings.threads };
  const cache = settings.cache === null ? {} : { cache: settings.cache };
  const engine = await startNodeEngine({ directory: settings.bundle, ...threads, ...cache });
  const queue = new RequestQueue({ active: settings.active, waiting: settings.queue });
  const end = new AbortController();
  let drainingSince: number | null = null;
  const app = createOriginApp({
    engine,
    key: await importSecret(settings.secret),
    nonces: new NonceStore(),
    metricsToken: settings.metricsToken,
    queue,
    metrics: new Metrics(queue),
    draining: () => drainingSince !== null,
    serverSignal: end.signal,
    onFailure: () => void endIfDead(),
    log,
    trace: traceExporter(process.env[OTLP_VARIABLE] ?? null, (error) =>
      log({ level: "warn", event: "spans-lost", error }),
    ),
  });
  const server = serve({
    fetch: app.fetch,
    hostname: settings.host,
    port: settings.port,
    serverOptions: { requestTimeout: REQUEST_TIMEOUT_MS, headersTimeout: HEADERS_TIMEOUT_MS },
  }) as Server;
  await listening(server);
  console.log(readyLine(server, engine));

  /** Lets answers finish for a while, then ends them, then everything. */
  const drain = async (reason: string, code: number): Promise<void> => {
    drainingSince = performance.now();
    log({ level: "info", event: "draining", reason, in_flight: queue.size });
    const patience = setTimeout(() => end.abort(), DRAIN_MS);
    await queue.idle();
    clearTimeout(patience);
    await closed(server);
    await engine.close();
    process.exit(code);
  };
  /** A second signal, when a person sends it, ends at once. */
  const onSignal = (signal: string): void => {
    if (drainingSince === null) void drain(signal, 0);
    else if (performance.now() - drainingSince > REPEATED_SIGNAL_MS) process.exit(1);
  };
  for (const signal of ["SIGTERM", "SIGINT"] as const) process.on(signal, () => onSignal(signal));

  /** An engine whose thread has died cannot come back in this process: a supervisor has to start another. */
  async function endIfDead(): Promise<void> {
    try {
      await engine.prefill([0], engine.exits[0]!, new AbortController().signal);
    } catch (error) {
      if (drainingSince !== null) return;
      log({ level: "error", event: "engine-dead", cause: String(error) });
      await drain("the engine is dead", 1);
    }
  }
}

/** @throws {UsageError} when the address cannot be had. */
function listening(server: Server): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("listening", resolve);
    server.once("error", (error) => reject(new UsageError(`Cannot listen: ${error.message}`)));
  });
}

/** Resolves when the last answer's bytes are out, or patience is over: kept-alive connections would hold on for ever. */
async function closed(server: Server): Promise<void> {
  const sweep = setInterval(() => server.closeIdleConnections(), SWEEP_MS);
  const all = new Promise<void>((resolve) => server.close(() => resolve()));
  await Promise.race([all, new Promise((resolve) => setTimeout(resolve, CLOSE_MS))]);
  clearInterval(sweep);
}

function readyLine(server: Server, { bundle, exits, prefillTokensPerSecond }: NodeEngine): string {
  const { address, family, port } = server.address() as AddressInfo;
  const url = `http://${family === "IPv6" ? `[${address}]` : address}:${port}`;
  const rate = `prefill ${Math.round(prefillTokensPerSecond)} tokens/s`;
  const model = `${bundle.name} ${bundle.fingerprint}, ${bundle.numerics}, exits ${exits.join(", ")}, ${rate}`;
  return `sortie origin ready on ${url} (${model})`;
}

function log(line: LogLine): void {
  console.log(JSON.stringify({ time: new Date().toISOString(), ...line }));
}
