/** The embedded origin's command line and environment. */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { STATE_DTYPES, type StateDtype } from "../state-dtype.ts";
import { defaultCacheMb, usableMemory } from "./cache-size.ts";

/** Answers interleaved at once: with more, each token waits for all others. */
const DEFAULT_ACTIVE = "8";
/** Requests waiting: four rounds, what a client's patience of 30 s covers. */
const DEFAULT_QUEUE = "32";
/** Seconds after which a block is computed anew. */
const CACHE_TTL_SECONDS = 3_600;
/** Characters of ORIGIN_SECRET: 16 random characters are beyond guessing. */
const MIN_SECRET_LENGTH = 16;

export const HELP = `ORIGIN_SECRET=… node src/origin/server.ts [options]

Serves the exits of a bundle by the protocol sortie-origin/1. Requests must be signed with ORIGIN_SECRET (at least
${MIN_SECRET_LENGTH} characters); /healthz is open. With METRICS_TOKEN set (as long), Prometheus may read /metrics by
sending it as a bearer token. SIGTERM and Ctrl-C let answers under way finish first.

  --bundle DIR   folder of bundle.json (default build/bundle; \`npm run build\` makes it)
  --host HOST    address to listen on (default 127.0.0.1)
  --port PORT    default 8788; 0 takes a free one and the ready line names it
  --active N     answers computed at once (default ${DEFAULT_ACTIVE})
  --queue N      requests that may wait, beyond that 503 (default ${DEFAULT_QUEUE})
  --cache-mb N   megabytes for prompts that were read before (default: an eighth of the memory, here ${defaultCacheMb(usableMemory())}); 0: none
  --cache-dtype  how those are kept, and given to the edge: F32 (default, exact), F16, or I8: keys and values as integers
  --threads N    threads of one operator (default: one a core)
  --help         this text`;

export interface ServerSettings {
  readonly bundle: string;
  readonly host: string;
  readonly port: number;
  readonly active: number;
  readonly queue: number;
  /** null: the engine's default. */
  readonly threads: number | null;
  /** null: no prefix cache. */
  readonly cache: { readonly maxBytes: number; readonly ttlMs: number; readonly dtype: StateDtype } | null;
  readonly secret: string;
  /** null: /metrics is off. */
  readonly metricsToken: string | null;
}

/** A mistake of whoever starts the server: shown without a stack. */
export class UsageError extends Error {}

/** @returns null when help is asked for. @throws {UsageError} */
export function readSettings(args: string[], environment: NodeJS.ProcessEnv): ServerSettings | null {
  const { ORIGIN_SECRET: secret, METRICS_TOKEN: metricsToken = "" } = environment;
  const string = { type: "string" } as const;
  const { values } = parse(args, {
    bundle: { ...string, default: "build/bundle" },
    host: { ...string, default: "127.0.0.1" },
    port: { ...string, default: "8788" },
    active: { ...string, default: DEFAULT_ACTIVE },
    queue: { ...string, default: DEFAULT_QUEUE },
    "cache-mb": { ...string, default: String(defaultCacheMb(usableMemory())) },
    "cache-dtype": { ...string, default: STATE_DTYPES[0] },
    threads: string,
    help: { type: "boolean", default: false },
  });
  if (values.help) return null;
  if (secret === undefined || secret.length < MIN_SECRET_LENGTH) {
    throw new UsageError(
      `ORIGIN_SECRET must hold the secret shared with the Worker, ${MIN_SECRET_LENGTH} characters or more.`,
    );
  }
  if (metricsToken !== "" && metricsToken.length < MIN_SECRET_LENGTH) {
    throw new UsageError(`METRICS_TOKEN must have ${MIN_SECRET_LENGTH} characters or more.`);
  }
  const settings = {
    bundle: values.bundle,
    host: values.host,
    port: integer("port", values.port, 0, 65_535),
    active: integer("active", values.active, 1, 1_024),
    queue: integer("queue", values.queue, 0, 65_536),
    threads: values.threads === undefined ? null : integer("threads", values.threads, 1, 1_024),
    cache: cacheOf(integer("cache-mb", values["cache-mb"], 0, 1_048_576), values["cache-dtype"]),
    secret,
    metricsToken: metricsToken === "" ? null : metricsToken,
  };
  if (!existsSync(join(values.bundle, "bundle.json"))) {
    throw new UsageError(
      `There is no bundle in ${values.bundle}. \`npm run build\` makes one, --bundle names another folder.`,
    );
  }
  return settings;
}

function cacheOf(megabytes: number, name: string): ServerSettings["cache"] {
  const dtype = STATE_DTYPES.find((known) => known === name);
  if (dtype === undefined) throw new UsageError(`--cache-dtype is one of ${STATE_DTYPES.join(", ")}.`);
  return megabytes === 0 ? null : { maxBytes: megabytes * 1e6, ttlMs: CACHE_TTL_SECONDS * 1_000, dtype };
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
