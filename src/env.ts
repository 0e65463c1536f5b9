/** What the platform binds to the Worker, and the settings read from it. A leaf. */
import { z } from "zod";
import { STATE_DTYPES } from "./state-dtype.ts";

/** Bindings of wrangler.toml. Variables are strings as the platform gives them; read them through {@link settings}. */
export interface Env {
  /** The model's files; never served to the public. */
  readonly ASSETS: Fetcher;
  /** The pool of edge exits. */
  readonly EDGE_EXIT: DurableObjectNamespace;
  /** One object a tenant: keys, budgets, usage. */
  readonly TENANT: DurableObjectNamespace;
  /** One object: which tenants there are. */
  readonly DIRECTORY: DurableObjectNamespace;
  /** One object: the deployment's counters by the hour. */
  readonly TRAFFIC?: DurableObjectNamespace;
  /** Analytics Engine's dataset of requests. */
  readonly REQUESTS?: AnalyticsEngineDataset;
  /** Blocks of prompts behind the shards' memory. Without it they are kept in memory alone. */
  readonly BLOCKS?: R2Bucket;
  /** Weights that were not deployed as static assets. Without it all are. */
  readonly MODEL?: R2Bucket;
  /** One object a tenant: its response cache. */
  readonly RESPONSES: DurableObjectNamespace;
  readonly CHECKPOINT?: string;
  readonly FINGERPRINT?: string;
  readonly EDGE_EXITS?: string;
  readonly EDGE_SHARDS?: string;
  readonly ORIGIN_URL?: string;
  readonly ORIGIN_SECRET?: string;
  readonly OPENAI_EXITS?: string;
  readonly CORS_ORIGINS?: string;
  readonly ADMIN_TOKEN?: string;
  readonly LEASE_SECONDS?: string;
  readonly PLAYGROUND_KEY?: string;
  readonly LOG_TEXT?: string;
  readonly BLOCK_CACHE_MB?: string;
  readonly BLOCK_DTYPE?: string;
  readonly SHARED_SYSTEM_PROMPTS?: string;
  readonly RESPONSE_TTL_SECONDS?: string;
  readonly HANDOFFS?: string;
  readonly HANDOFF_DTYPE?: string;
  readonly SHADOW_QUALITY?: string;
}

/** Exits that the edge serves unless EDGE_EXITS names others: what fits an isolate of most checkpoints (docs/benchmarks.md). */
const DEFAULT_EDGE_EXITS = 2;
/** Objects a location; a shard takes four answers at once, so 64 is beyond what one location is asked for. */
const MAX_SHARDS = 64;
/** Deepest LLaMA: 126 layers. */
const MAX_LAYER = 256;
/** Seconds that a hold lasts without renewal: after a crash a tenant waits no longer for its money. */
const LEASE_SECONDS = 60;
/** Seconds; a renewal each third of it must not come faster than an object answers. */
const MIN_LEASE_SECONDS = 1;
const MAX_LEASE_SECONDS = 600;
/** Megabytes of blocks in a shard's isolate: it has 128 MB, of which the largest model of DESIGN section 6 takes 90. */
const BLOCK_CACHE_MB = 16;
const MAX_BLOCK_CACHE_MB = 64;
/** Seconds after which a block is computed anew: a long conversation's pause. */
export const BLOCK_TTL_SECONDS = 3_600;
/** Seconds for which blocks in R2 are good. */
const ARCHIVE_TTL_SECONDS = 86_400;
/** Seconds for which a stored answer is good: as long as a page that asks it is open. */
const RESPONSE_TTL_SECONDS = 3_600;
const MAX_RESPONSE_TTL_SECONDS = 30 * 86_400;
/** The token that earlier versions shipped with: whoever still has it set has none. */
const FORMER_ADMIN_TOKEN = "local-development-only";
/** Characters of a token that cannot be guessed: 64 bits in hexadecimal. */
const MIN_ADMIN_TOKEN_CHARS = 16;

const list = (text: string): string[] =>
  text
    .split(",")
    .map((entry) => entry.trim())
    .filter((entry) => entry !== "");

const isHttpUrl = (text: string): boolean => {
  const url = URL.parse(text);
  return url !== null && (url.protocol === "http:" || url.protocol === "https:");
};

const layerSchema = z.int("must be layer numbers, e.g. 3,6").min(1).max(MAX_LAYER);

/** An exit that an OpenAI-compatible engine serves from a checkpoint of `sortie-view` (src/origin/openai-exit.ts). */
const openaiExitSchema = z.strictObject({
  exit: layerSchema,
  /** Base address, e.g. `http://127.0.0.1:8000/v1`. */
  url: z.string().refine(isHttpUrl),
  /** The engine's name for the model. */
  model: z.string().min(1),
  key: z.string().default(""),
  /** `text` for engines that take no token ids; a prompt in which text spells a control token is then refused. */
  prompt: z.enum(["ids", "text"]).default("ids"),
  /** `ids` asks for the answer's ids (vLLM's `return_token_ids`); engines that do not know the parameter may refuse it. */
  answer: z.enum(["ids", "text"]).default("text"),
});
export type OpenaiExit = z.infer<typeof openaiExitSchema>;

const openaiExitsSchema = z
  .string()
  .default("")
  .transform((text): unknown => {
    try {
      return text === "" ? [] : JSON.parse(text);
    } catch {
      return null;
    }
  })
  .pipe(
    z.array(openaiExitSchema, 'must be JSON such as [{"exit": 9, "url": "https://…/v1", "model": "…", "key": "…"}]'),
  );

const environmentSchema = z
  .object({
    EDGE_EXITS: z
      .string()
      .default("")
      .transform((text) => list(text).map(Number))
      .pipe(z.array(layerSchema))
      .transform((exits): readonly number[] | null => (exits.length === 0 ? null : exits.toSorted((a, b) => a - b))),
    FINGERPRINT: z
      .string()
      .regex(/^([0-9a-f]{16})?$/, "must be 16 hexadecimal digits, or empty")
      .default(""),
    EDGE_SHARDS: z.coerce.number().int().min(1).max(MAX_SHARDS).default(1),
    ORIGIN_URL: z
      .string()
      .refine((url) => url === "" || isHttpUrl(url), "must be an http or https address, or empty")
      .default(""),
    ORIGIN_SECRET: z.string().default(""),
    OPENAI_EXITS: openaiExitsSchema,
    CORS_ORIGINS: z
      .string()
      .default("")
      .transform((text): readonly string[] => list(text))
      .refine(
        (origins) => origins.every((origin) => origin === "*" || URL.parse(origin)?.origin === origin),
        'must be "*" or origins such as https://app.example, separated by commas',
      ),
    ADMIN_TOKEN: z
      .union(
        [
          z.literal(""),
          z
            .string()
            .regex(/^[\x21-\x7e]+$/)
            .min(MIN_ADMIN_TOKEN_CHARS),
        ],
        {
          error: `must be one word of at least ${MIN_ADMIN_TOKEN_CHARS} printable ASCII characters, or empty`,
        },
      )
      .default(""),
    SHADOW_QUALITY: z
      .string()
      .default("")
      .refine(
        (text) => text === "" || (Number(text) > 0 && Number(text) <= 1),
        "must be above 0 and at most 1, or empty",
      ),
    LOG_TEXT: z.enum(["", "on"], 'must be "on", or empty').default(""),
    PLAYGROUND_KEY: z.string().default(""),
    BLOCK_CACHE_MB: z.coerce.number().min(0).max(MAX_BLOCK_CACHE_MB).default(BLOCK_CACHE_MB),
    BLOCK_DTYPE: z.enum(STATE_DTYPES).default("F32"),
    SHARED_SYSTEM_PROMPTS: z
      .string()
      .default("")
      .transform((text): readonly string[] => list(text))
      .refine((digests) => digests.every((digest) => /^[0-9a-f]{64}$/.test(digest)), {
        error: "must be SHA-256 digests in lower-case hexadecimal, separated by commas",
      }),
    RESPONSE_TTL_SECONDS: z.coerce.number().min(1).max(MAX_RESPONSE_TTL_SECONDS).default(RESPONSE_TTL_SECONDS),
    HANDOFF_DTYPE: z.enum(STATE_DTYPES).default("F32"),
    HANDOFFS: z.enum(["auto", "always", "never"]).default("auto"),
    LEASE_SECONDS: z.coerce.number().min(MIN_LEASE_SECONDS).max(MAX_LEASE_SECONDS).default(LEASE_SECONDS),
  })
  .refine(({ ORIGIN_URL, ORIGIN_SECRET }) => ORIGIN_URL === "" || ORIGIN_SECRET !== "", {
    path: ["ORIGIN_SECRET"],
    error: "must be set when ORIGIN_URL is",
  })
  .transform((env) => ({
    /** Layers, ascending; null: the checkpoint's first exits. {@link exitsAtEdge} asks a checkpoint. */
    edgeExits: env.EDGE_EXITS,
    /** Of the checkpoint that must be served; null: whichever was built. */
    fingerprint: env.FINGERPRINT === "" ? null : env.FINGERPRINT,
    /** Objects a location. */
    edgeShards: env.EDGE_SHARDS,
    /** null: the edge answers alone. */
    origin: env.ORIGIN_URL === "" ? null : { url: env.ORIGIN_URL, secret: env.ORIGIN_SECRET },
    /** Exits that other engines serve, in the origin's place. */
    openaiExits: env.OPENAI_EXITS,
    /** Origins of browsers that may read answers; `*` is every one. */
    corsOrigins: env.CORS_ORIGINS,
    /** null: the admin API is off. */
    adminToken: ["", FORMER_ADMIN_TOKEN].includes(env.ADMIN_TOKEN) ? null : env.ADMIN_TOKEN,
    /** Prompts and answers go into the log, too. */
    logText: env.LOG_TEXT === "on",
    /** A quality target whose verdicts are logged beside the real ones; null: none. */
    shadowQuality: env.SHADOW_QUALITY === "" ? null : Number(env.SHADOW_QUALITY),
    /** A key for whoever opens the playground; null: visitors bring their own. */
    playgroundKey: env.PLAYGROUND_KEY === "" ? null : env.PLAYGROUND_KEY,
    /** A shard's prefix cache. */
    blocks: { maxBytes: env.BLOCK_CACHE_MB * 1e6, ttlMs: BLOCK_TTL_SECONDS * 1_000, dtype: env.BLOCK_DTYPE },
    /** SHA-256 of the system prompts whose blocks are everybody's. */
    sharedSystemPrompts: env.SHARED_SYSTEM_PROMPTS,
    /** Whether state moves between the tiers: where it is cheaper than computing it anew, or as forced. */
    handoffs: env.HANDOFFS,
    /** How state travels to the origin; F32 changes no answer. */
    handoffDtype: env.HANDOFF_DTYPE,
    /** How long blocks in R2 are good. */
    archiveTtlMs: ARCHIVE_TTL_SECONDS * 1_000,
    /** How long a stored answer is good. */
    responseTtlMs: env.RESPONSE_TTL_SECONDS * 1_000,
    /** How long a hold lasts without renewal. */
    leaseMs: env.LEASE_SECONDS * 1_000,
  }));
export type Settings = z.infer<typeof environmentSchema>;

/** Of a checkpoint's exits those that the edge serves, ascending. */
export function exitsAtEdge({ edgeExits }: Pick<Settings, "edgeExits">, exits: readonly number[]): number[] {
  return edgeExits === null ? exits.slice(0, DEFAULT_EDGE_EXITS) : exits.filter((exit) => edgeExits.includes(exit));
}

/** The variables of {@link Env} alone. */
export type EnvVariables = Omit<
  Env,
  "ASSETS" | "EDGE_EXIT" | "TENANT" | "DIRECTORY" | "TRAFFIC" | "REQUESTS" | "RESPONSES" | "BLOCKS" | "MODEL"
>;

/** By the object that the platform passes, the same for all requests of an isolate. */
const known = new WeakMap<Readonly<EnvVariables>, Settings>();

/**
 * Reads the variables, once an isolate.
 * @throws Error naming every variable that does not fit; never its value, which may be a secret
 */
export function settings(env: Readonly<EnvVariables>): Settings {
  const before = known.get(env);
  if (before !== undefined) return before;
  const parsed = environmentSchema.safeParse(env);
  if (parsed.success) {
    known.set(env, parsed.data);
    return parsed.data;
  }
  const wrong = parsed.error.issues.map((issue) => `${String(issue.path[0])} ${issue.message}`);
  throw new Error(`configuration: ${wrong.join("; ")}`);
}
