/**
 * The protocol `sortie-origin/1`: what the Worker asks of an origin, and what every origin answers.
 *
 *   POST /v1/generate   signed; JSON (`generationRequestSchema`) or a safetensors handoff (handoff-codec.ts)
 *                       → 200 `text/event-stream`: one `data: <TokenEvent>` per event, the last one is `end`;
 *                         a failure in mid-stream is one `data: {"error": …}`; lines that start with `:` are pings;
 *                         `x-sortie-fingerprint` names the checkpoint that is meant: another one refuses (404)
 *   GET  /v1/blocks     signed → sealed blocks of the prefix cache, signed (docs/protocol.md)
 *   GET  /v1/info       signed → `originInfoSchema`
 *   GET  /metrics       with the bearer token METRICS_TOKEN (404 where none is set) → Prometheus text; the three `METRIC_…` below are part of the protocol
 *   GET  /healthz       open   → 200 `{"status":"ok"}`, 503 `{"status":"draining"}`
 *
 * Refusals have OpenAI's error form; their codes are `REFUSAL_CODES`. Signing is in signing.ts.
 */
import { z } from "zod";
import { type GenerationRequest, tokenEventSchema } from "../generation.ts";
import type { Numerics } from "../handoff.ts";

export const ORIGIN_PROTOCOL = "sortie-origin/1";

export const GENERATE_PATH = "/v1/generate";
export const INFO_PATH = "/v1/info";
export const BLOCKS_PATH = "/v1/blocks";
export const METRICS_PATH = "/metrics";
export const HEALTH_PATH = "/healthz";

/** Header of a request: the checkpoint whose tokens are wanted. Absent: whichever is there. */
export const FINGERPRINT_HEADER = "x-sortie-fingerprint";

export const JSON_TYPE = "application/json";
export const SAFETENSORS_TYPE = "application/vnd.safetensors";
export const BLOCKS_TYPE = "application/vnd.sortie.blocks";
export const SSE_TYPE = "text/event-stream";

/** Equal for requests of one tenant whose prompts begin alike: a balancer keeps them where their blocks are (Ray Serve's name). */
export const SESSION_HEADER = "x-session-id";

/** Bytes of a request. A handoff leaves the edge in one RPC message (at most 32 MiB) and shares 128 MB with the model. */
export const MAX_BODY_BYTES = 32 * 1024 * 1024;
/** Bytes of the safetensors header. Holds the ids as JSON: 128 Ki tokens of 7 bytes, and 2 × 256 tensor entries. */
export const MAX_HEADER_BYTES = 1024 * 1024;
/** Bytes of a JSON request: the same ids as in a header. */
export const MAX_JSON_BYTES = MAX_HEADER_BYTES;
/** Tokens of a prompt: the longest context window of the LLaMA family. */
export const MAX_TOKEN_IDS = 128 * 1024;
/** Layers a handoff may span: twice those of the deepest LLaMA (126). */
export const MAX_LAYERS = 256;
/** Bytes of one line of the answer: an event with 20 `top_logprobs` takes about 1 KB. */
export const MAX_EVENT_LINE_BYTES = 16 * 1024;
/** Bytes of a whole answer: an event with 20 `top_logprobs` a token, pings, and the end. */
export function maxAnswerBytes(tokens: number): number {
  return 64 * 1024 + tokens * 2 * 1024;
}
/** Blocks that one request may ask for: 2,048 tokens, and 5 KB of an address. */
export const MAX_BLOCKS = 64;
/** Milliseconds between pings: proxies cut streams that are silent for 30 s when writing. */
export const PING_INTERVAL_MS = 15_000;

/** Counter, may have labels: tokens computed for answers, sent or not. Shows that a cancel stops the work. */
export const METRIC_TOKENS_COMPUTED = "sortie_origin_tokens_computed_total";
/** Gauge: requests being answered or waiting. */
export const METRIC_IN_FLIGHT = "sortie_origin_requests_in_flight";
/** Gauge: how many those may be; one more is refused with `origin_overloaded`. */
export const METRIC_CAPACITY = "sortie_origin_requests_capacity";

export const numericsSchema = z.enum(["w8a8", "fp32", "bf16"]) satisfies z.ZodType<Numerics>;

const fingerprintSchema = z.string().regex(/^[0-9a-f]{16}$/);

/** `GET /v1/info`: what this origin is, and what it costs to ask it. Unknown keys are ignored, for later servers. */
export const originInfoSchema = z.object({
  protocol: z.literal(ORIGIN_PROTOCOL),
  /** Public model name, e.g. `tiny`. */
  model: z.string().min(1).max(128),
  fingerprint: fingerprintSchema,
  numerics: numericsSchema,
  /** Numerics whose handoffs are resumed here; always holds `numerics`. */
  handoff_numerics: z.array(numericsSchema).min(1),
  /** Ascending layer counts. */
  exits: z.array(z.int().positive()).min(1),
  /** Longest sequence (prompt + answer) in tokens. */
  context_length: z.int().positive(),
  /** Prompt tokens per second through all layers, measured at warm-up. */
  prefill_tokens_per_second: z.number().positive(),
  /** Kinds of `decoding` that a request may ask for. */
  decoding: z.array(z.string()).optional(),
});
export type OriginInfo = z.infer<typeof originInfoSchema>;

/** `__metadata__` of a handoff: strings only, as safetensors demands. */
export const handoffMetadataSchema = z.strictObject({
  protocol: z.literal(ORIGIN_PROTOCOL),
  /** The generation request as JSON. */
  request: z.string(),
  fingerprint: fingerprintSchema,
  numerics: numericsSchema,
  /** Decimal: layers 1..exit_layer have run at the sender. */
  exit_layer: z.string().regex(/^[1-9][0-9]{0,2}$/),
});

/** A failure in OpenAI's form: the body of a refusal, or the last event of a stream that broke. */
export const errorBodySchema = z.object({
  error: z.object({
    message: z.string(),
    type: z.string(),
    param: z.string().nullable().default(null),
    code: z.string().nullable().default(null),
  }),
});

/** One `data:` line of the answer. */
export const streamLineSchema = z.union([tokenEventSchema, errorBodySchema]);

/** Why a handoff is not resumed. The client answers every one of them by sending token ids. */
export const HANDOFF_REFUSAL_CODES = [
  /** Not safetensors, a broken header, or values that are not finite. */
  "handoff_malformed",
  /** Made by another checkpoint. */
  "handoff_fingerprint_mismatch",
  /** Made by arithmetic this origin does not resume. */
  "handoff_numerics_mismatch",
  /** The sender's layer is no exit here, or lies deeper than the exit asked for. */
  "handoff_exit_mismatch",
  /** A tensor's shape is not that of this checkpoint. */
  "handoff_shape_mismatch",
  /** A tensor is neither F16 nor F32 (ids: I32). */
  "handoff_dtype_unsupported",
  /** More positions than ids, ids that differ from the request's, or a tensor whose bytes do not fit its shape. */
  "handoff_length_mismatch",
] as const;
export type HandoffRefusalCode = (typeof HANDOFF_REFUSAL_CODES)[number];

/** The other refusals of `sortie-origin/1`. */
export const REFUSAL_CODES = [
  ...HANDOFF_REFUSAL_CODES,
  "signature_missing",
  "signature_invalid",
  "signature_stale",
  "signature_replayed",
  "signature_boot_mismatch",
  "metrics_token_invalid",
  "request_invalid",
  "checkpoint_mismatch",
  "exit_unknown",
  "context_length_exceeded",
  "body_too_large",
  "content_type_unsupported",
  "not_found",
  "blocks_unknown",
  "origin_overloaded",
  "origin_draining",
  "origin_failed",
] as const;
export type RefusalCode = (typeof REFUSAL_CODES)[number];

/** Bounds beyond the schema that every reader of a request applies. @returns what is wrong, or null. */
export function requestBoundsError(request: GenerationRequest): string | null {
  const { token_ids: ids, answer_tokens: answer } = request;
  if (ids.length > MAX_TOKEN_IDS) return `token_ids has more than ${MAX_TOKEN_IDS} tokens`;
  return answer >= ids.length ? "answer_tokens leaves no token of token_ids to the prompt" : null;
}
