/** The embedded origin: `sortie-origin/1` on Node, the deeper exits of the bundle the Worker serves. */
import { existsSync } from "node:fs";
import type { Server } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { serve } from "@hono/node-server";
import { BundleError } from "../model/errors.ts";
import { startNodeEngine } from "../model/node-client.ts";
import { createOriginApp, type LogLine } from "./server-app.ts";
import { Metrics } from "./server-metrics.ts";
import { RequestQueue } from "./server-queue.ts";
import { importSecret, NonceStore } from "./signing.ts";

/** Answers interleaved at once: with more, each token waits for all others. */
const DEFAULT_ACTIVE = "8";
/** Requests waiting: four rounds, what a client's patience of 30 s covers. */
const DEFAULT_QUEUE = "32";
/** Characters of ORIGIN_SECRET: 16 random characters are beyond guessing. */
const MIN_SECRET_LENGTH = 16;
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

const HELP = `ORIGIN_SECRET=… node src/origin/server.ts [options]

Serves the exits of a bundle by the protocol sortie-origin/1. Every request but /healthz must be signed with
ORIGIN_SECRET (at least ${MIN_SECRET_LENGTH} characters). SIGTERM and Ctrl-C let answers under way finish first.

  --bundle DIR   folder of bundle.json (default build/bundle; \`npm run build\` makes it)
  --host HOST    address to listen on (default 127.0.0.1)
  --port PORT    default 8788; 0 takes a free one and the ready line names it
  --active N     answers computed at once (default ${DEFAULT_ACTIVE})
  --queue N      requests that may wait, beyond that 503 (default ${DEFAULT_QUEUE})
  --threads N    threads of one operator (default: one a core)
  --help         this text`;

interface Settings {
  readonly bundle: string;
  readonly host: string;
  readonly port: number;
  readonly active: number;
  readonly queue: number;
  readonly threads: number | null;
  readonly secret: string;
}

/** A mistake of whoever starts the server: shown without a stack. */
class UsageError extends Error {}

try {
  const settings = readSettings(process.argv.slice(2), process.env["ORIGIN_SECRET"]);
  if (settings === null) console.log(HELP);
  else await start(settings);
} catch (error) {
  if (error instanceof BundleError) console.error(`The bundle cannot be served: ${error.message}`);
  else console.error(error instanceof UsageError ? error.message : error);
  process.exit(1);
}

/** @returns null when help is asked for. @throws {UsageError} */
function readSettings(args: string[], secret: string | undefined): Settings | null {
  const string = { type: "string" } as const;
  const { values } = parse(args, {
    bundle: { ...string, default: "build/bundle" },
    host: { ...string, default: "127.0.0.1" },
    port: { ...string, default: "8788" },
    active: { ...string, default: DEFAULT_ACTIVE },
    queue: { ...string, default: DEFAULT_QUEUE },
    threads: string,
    help: { type: "boolean", default: false },
  });
  if (values.help) return null;
  if (secret === undefined || secret.length < MIN_SECRET_LENGTH) {
    throw new UsageError(
      `ORIGIN_SECRET must hold the secret shared with the Worker, ${MIN_SECRET_LENGTH} characters or more.`,
    );
  }
  return {
    bundle: values.bundle,
    host: values.host,
    port: integer("port", values.port, 0, 65_535),
    active: integer("active", values.active, 1, 1_024),
    queue: integer("queue", values.queue, 0, 65_536),
    threads: values.threads === undefined ? null : integer("threads", values.threads, 1, 1_024),
    secret,
  };
}

async function start(settings: Settings): Promise<void> {
  if (!existsSync(join(settings.bundle, "bundle.json"))) {
    throw new UsageError(
      `There is no bundle in ${settings.bundle}. \`npm run build\` makes one, --bundle names another folder.`,
    );
  }
  const threads = settings.threads === null ? {} : { threads: settings.threads };
  const engine = await startNodeEngine({ directory: settings.bundle, ...threads });
  const queue = new RequestQueue({ active: settings.active, waiting: settings.queue });
  const end = new AbortController();
  let draining = false;
  const app = createOriginApp({
    engine,
    key: await importSecret(settings.secret),
    nonces: new NonceStore(),
    queue,
    metrics: new Metrics(queue),
    draining: () => draining,
    serverSignal: end.signal,
    log,
  });
  const server = serve({
    fetch: app.fetch,
    hostname: settings.host,
    port: settings.port,
    serverOptions: { requestTimeout: REQUEST_TIMEOUT_MS, headersTimeout: HEADERS_TIMEOUT_MS },
  }) as Server;
  await listening(server);
  const { bundle } = engine;
  console.log(
    `sortie origin ready on ${urlOf(server)} (${bundle.name} ${bundle.fingerprint}, ${bundle.numerics}, ` +
      `exits ${engine.exits.join(", ")}, prefill ${Math.round(engine.prefillTokensPerSecond)} tokens/s)`,
  );

  /** Lets answers finish, then ends them, then everything. A second signal, when a person sends it, ends at once. */
  let drainingSince = 0;
  const drain = async (signal: string): Promise<void> => {
    if (draining && performance.now() - drainingSince > REPEATED_SIGNAL_MS) process.exit(1);
    if (draining) return;
    drainingSince = performance.now();
    draining = true;
    log({ level: "info", event: "draining", signal, in_flight: queue.size });
    const patience = setTimeout(() => end.abort(), DRAIN_MS);
    await queue.idle();
    clearTimeout(patience);
    await closed(server);
    await engine.close();
    process.exit(0);
  };
  for (const signal of ["SIGTERM", "SIGINT"] as const) process.on(signal, () => void drain(signal));
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

function urlOf(server: Server): string {
  const { address, family, port } = server.address() as AddressInfo;
  return `http://${family === "IPv6" ? `[${address}]` : address}:${port}`;
}

function log(line: LogLine): void {
  console.log(JSON.stringify({ time: new Date().toISOString(), ...line }));
}

function integer(name: string, text: string, min: number, max: number): number {
  const value = Number(text);
  if (/^\d+$/.test(text) && value >= min && value <= max) return value;
  throw new UsageError(`--${name} must be a whole number from ${min} to ${max}, it is ${JSON.stringify(text)}`);
}

/** `parseArgs` with its complaints as usage errors. */
function parse<T extends NonNullable<Parameters<typeof parseArgs>[0]>["options"]>(args: string[], options: T) {
  try {
    return parseArgs({ args, options });
  } catch (error) {
    throw new UsageError(`${error instanceof Error ? error.message : String(error)}\n\n${HELP}`);
  }
}
