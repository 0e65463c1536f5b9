/** What comes in by HTTP, believed only when it is signed, bounded and well-formed. */
import { ApiError } from "../errors.ts";
import { type GenerationRequest, generationRequestSchema } from "../generation.ts";
import type { Handoff } from "../handoff.ts";
import type { Bundle } from "../model/bundle.ts";
import { decodeHandoff, handoffTarget, type HandoffTarget } from "./handoff-codec.ts";
import { HandoffRefusal } from "./handoff-refusal.ts";
import {
  JSON_TYPE,
  MAX_BODY_BYTES,
  MAX_JSON_BYTES,
  type RefusalCode,
  requestBoundsError,
  SAFETENSORS_TYPE,
} from "./protocol.ts";
import { bearerKey, sameDigest } from "../bearer.ts";
import { bodyDigest, BOOT_HEADER, type NonceStore, utf8, verifySignature } from "./signing.ts";

/** Seconds after which a refused client may ask again: about one short answer. */
const RETRY_AFTER_SECONDS = 2;

const SIGNATURE_MESSAGES = {
  signature_missing: "The request is not signed.",
  signature_invalid: "The signature does not fit the request.",
  signature_stale: "The signature is too old, or from the future.",
  signature_replayed: "The request was received before.",
  signature_boot_mismatch: "The signature is for another start of this origin.",
} as const;

/** A refusal of this protocol. */
export function refuse(
  status: 400 | 401 | 404 | 413 | 415 | 500 | 503,
  code: RefusalCode,
  message: string,
  param: string | null = null,
  more: Readonly<Record<string, string>> = {},
): ApiError {
  const type = status === 401 ? "authentication_error" : status >= 500 ? "server_error" : "invalid_request_error";
  const headers = { ...more, ...(status === 503 && { "retry-after": String(RETRY_AFTER_SECONDS) }) };
  return new ApiError(message, { status, type, code, param, headers });
}

/** Prometheus cannot sign: it sends a token. @throws {ApiError} 401; 404 where no token is set */
export async function requireMetricsToken(request: Request, token: string | null): Promise<void> {
  if (token === null) throw refuse(404, "not_found", "There are no metrics here: METRICS_TOKEN is not set.");
  const presented = bearerKey(request.headers.get("authorization") ?? undefined) ?? "";
  if (sameDigest(await bodyDigest(utf8(presented)), await bodyDigest(utf8(token)))) return;
  throw refuse(401, "metrics_token_invalid", "Send METRICS_TOKEN in the Authorization header, as a bearer token.");
}

/** Reads a request's body once its headers are proven. @throws {ApiError} 401, 413, 503 */
export async function readSigned(
  request: Request,
  key: CryptoKey,
  nonces: NonceStore,
): Promise<Uint8Array<ArrayBuffer>> {
  const { pathname, search } = new URL(request.url);
  const { method, headers } = request;
  const verdict = await verifySignature(key, { method, path: pathname + search, headers }, nonces, Date.now());
  if (!verdict.ok) {
    if (verdict.code === "origin_overloaded") throw refuse(503, verdict.code, "Too many requests.");
    const boot = verdict.code === "signature_boot_mismatch" ? { [BOOT_HEADER]: nonces.boot } : {};
    throw refuse(401, verdict.code, SIGNATURE_MESSAGES[verdict.code], null, boot);
  }
  const body = await readBounded(request);
  if ((await bodyDigest(body)) !== verdict.digest) {
    throw refuse(401, "signature_invalid", "The body is not the one that was signed.");
  }
  return body;
}

/** @throws {ApiError} 413 `body_too_large`, by the declared length where there is one. */
async function readBounded(request: Request): Promise<Uint8Array<ArrayBuffer>> {
  const encoding = request.headers.get("content-encoding")?.toLowerCase() ?? "identity";
  if (encoding !== "identity") throw refuse(415, "content_type_unsupported", "A body is sent without compression.");
  const tooLarge = (): ApiError => refuse(413, "body_too_large", `A body may have ${MAX_BODY_BYTES} bytes.`);
  if (Number(request.headers.get("content-length") ?? 0) > MAX_BODY_BYTES) throw tooLarge();
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of (request.body ?? []) as AsyncIterable<Uint8Array>) {
    bytes += chunk.length;
    if (bytes > MAX_BODY_BYTES) throw tooLarge();
    chunks.push(chunk);
  }
  const body = new Uint8Array(bytes);
  let offset = 0;
  for (const chunk of chunks) {
    body.set(chunk, offset);
    offset += chunk.length;
  }
  return body;
}

export interface Accepted {
  readonly request: GenerationRequest;
  readonly handoff: Handoff | null;
}

/** Reads `POST /v1/generate`. @throws {ApiError} 400, 413, 415 */
export function readGenerate(
  body: Uint8Array,
  contentType: string,
  bundle: Bundle,
  exits: readonly number[],
): Accepted {
  const accepted = decode(body, contentType.split(";")[0]!.trim().toLowerCase(), handoffTarget(bundle, exits));
  const { request } = accepted;
  if (!exits.includes(request.exit_layer)) {
    throw refuse(400, "exit_unknown", `The exits are ${exits.join(", ")}.`, "exit_layer");
  }
  const { context_length, vocab_size } = bundle.shape;
  if (request.token_ids.some((id) => id >= vocab_size)) {
    throw refuse(400, "request_invalid", `Token ids are below ${vocab_size}.`, "token_ids");
  }
  if (request.token_ids.length + request.max_tokens > context_length) {
    const asked = `${request.token_ids.length} + ${request.max_tokens}`;
    throw refuse(400, "context_length_exceeded", `${asked} tokens are more than ${context_length}.`, "max_tokens");
  }
  return accepted;
}

function decode(body: Uint8Array, contentType: string, target: HandoffTarget): Accepted {
  if (contentType === JSON_TYPE) return { request: readJson(body), handoff: null };
  if (contentType !== SAFETENSORS_TYPE) {
    throw refuse(415, "content_type_unsupported", `A body is ${JSON_TYPE} or ${SAFETENSORS_TYPE}.`);
  }
  try {
    return decodeHandoff(body, target);
  } catch (error) {
    if (error instanceof HandoffRefusal) throw refuse(400, error.code, error.message);
    throw error;
  }
}

function readJson(body: Uint8Array): GenerationRequest {
  if (body.length > MAX_JSON_BYTES) throw refuse(413, "body_too_large", `JSON may have ${MAX_JSON_BYTES} bytes.`);
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(body));
  } catch {
    throw refuse(400, "request_invalid", "The body is not JSON.");
  }
  const parsed = generationRequestSchema.safeParse(value);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    throw refuse(400, "request_invalid", issue?.message ?? "The request is invalid.", issue?.path.join(".") ?? null);
  }
  const bounds = requestBoundsError(parsed.data);
  if (bounds !== null) throw refuse(400, "request_invalid", bounds, "token_ids");
  return parsed.data;
}
