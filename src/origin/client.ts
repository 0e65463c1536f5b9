/**
 * The Worker's client of an origin that speaks `sortie-origin/1`. Runs in workerd and in Node.
 * Every failure is an `OriginError` with a kind, so that the flow can answer otherwise.
 */
import { affinityOf } from "../affinity.ts";
import type { GenerationRequest, TokenEvent } from "../generation.ts";
import type { Handoff } from "../handoff.ts";
import type { Answering } from "./answer-check.ts";
import { Call, DEFAULT_TIMEOUTS, type OriginTimeouts } from "./call.ts";
import { encodeHandoff, EXACT, handoffBytes, type WireFormat } from "./handoff-codec.ts";
import { OriginError, retryAfterOf } from "./origin-error.ts";
import {
  errorBodySchema,
  FINGERPRINT_HEADER,
  GENERATE_PATH,
  HANDOFF_REFUSAL_CODES,
  INFO_PATH,
  JSON_TYPE,
  MAX_BODY_BYTES,
  type OriginInfo,
  originInfoSchema,
  SAFETENSORS_TYPE,
  SESSION_HEADER,
  SSE_TYPE,
} from "./protocol.ts";
import { signedFetch } from "./signed-fetch.ts";
import { importSecret, utf8 } from "./signing.ts";
import { TokenStream } from "./token-stream.ts";
import {
  decideTransfer,
  LinkMeter,
  type TransferDecision,
  type TransferInputs,
  type TransferMode,
} from "./transfer.ts";

/** Bytes of an answer that is no stream: info and refusals take under 2 KB. */
const MAX_ANSWER_BYTES = 64 * 1024;
/** Statuses that mean "signed wrongly" or "not here" (the checkpoint, too): sending token ids would not help. */
const HOPELESS_STATUSES: readonly number[] = [401, 403, 404, 405];

export interface OriginClientOptions {
  /** Base address, e.g. `http://127.0.0.1:8788`. */
  readonly url: string;
  /** Shared secret of the HMAC signature. */
  readonly secret: string;
  /** The checkpoint that must answer; undefined: whichever is there. */
  readonly fingerprint?: string;
  /** What that checkpoint can answer; undefined: ids and exits are believed. */
  readonly answering?: Answering;
  readonly fetch?: typeof fetch;
  readonly timeouts?: Partial<OriginTimeouts>;
  /** Of handoffs; default `EXACT`. */
  readonly wire?: WireFormat;
  /** What is known of the link; measured by every request. Default: nothing, and every handoff is sent. */
  readonly link?: LinkMeter;
  /** Default `auto`. */
  readonly handoffs?: TransferMode;
  /** Told of every decision whether a handoff is sent, or its token ids alone; for the log. */
  readonly onHandoffDecided?: (decision: TransferDecision, inputs: TransferInputs) => void;
  /** The W3C trace context that requests carry; null: none. */
  readonly traceparent?: () => string | null;
  /** Told when a handoff was refused and the token ids are sent in its place; for the log. */
  readonly onHandoffRefused?: (error: OriginError) => void;
}

export interface OriginClient {
  /**
   * Asks for tokens. Resolves when the first event is there, so that a caller may still answer otherwise.
   * A refused handoff is followed once by the token ids alone.
   * @param spared tokens that a handoff spares the origin; default: all that it has
   * @returns tokens, then exactly one `end`. Ending the iteration early aborts the request.
   * @throws {OriginError} now, or while iterating; the signal's reason when the caller aborts.
   */
  generate(
    request: GenerationRequest,
    handoff: Handoff | null,
    signal?: AbortSignal,
    spared?: number,
  ): Promise<AsyncIterable<TokenEvent>>;
  /** @throws {OriginError} */
  info(signal?: AbortSignal): Promise<OriginInfo>;
}

/** @throws {TypeError} when url or secret cannot be used. */
export function createOriginClient(options: OriginClientOptions): OriginClient {
  const base = new URL(options.url);
  const key = importSecret(options.secret);
  const send = options.fetch ?? ((input, init) => fetch(input, init));
  const timeouts = { ...DEFAULT_TIMEOUTS, ...options.timeouts };
  const link = options.link ?? new LinkMeter();
  const wire = options.wire ?? EXACT;

  function worthSending(handoff: Handoff, bytes: number, spared: number): boolean {
    const inputs: TransferInputs = {
      bytes,
      tokenLayers: spared * handoff.exitLayer,
      bandwidth: link.bandwidth,
      tokenLayersPerSecond: link.tokenLayersPerSecond,
      extraMs: 0, // the request is made in any case
    };
    const decision = decideTransfer(inputs, options.handoffs ?? "auto");
    options.onHandoffDecided?.(decision, inputs);
    return decision.move && bytes <= MAX_BODY_BYTES;
  }

  /** One signed request, up to the headers of a 200. */
  async function exchange(
    call: Call,
    method: "GET" | "POST",
    path: string,
    body: Uint8Array<ArrayBuffer>,
    more: Readonly<Record<string, string>>,
  ): Promise<Response> {
    call.expectWithin(timeouts.connectMs, "an answer");
    const parent = options.traceparent?.() ?? null;
    const headers = {
      ...more,
      ...(parent !== null && { traceparent: parent }),
      ...(options.fingerprint !== undefined && { [FINGERPRINT_HEADER]: options.fingerprint }),
    };
    const { response } = await signedFetch(await key, base.href, method, path, body, (signed) =>
      call.race(
        send(new URL(path, base).href, {
          method,
          headers: { ...headers, ...signed },
          ...(method === "POST" ? { body } : {}),
          redirect: "manual",
          signal: call.signal,
        }),
        "unreachable",
      ),
    );
    if (response.status !== 200) throw refusal(response, await readBounded(call, response));
    return response;
  }

  async function start(
    request: GenerationRequest,
    body: Uint8Array<ArrayBuffer>,
    contentType: string,
    signal: AbortSignal | undefined,
  ): Promise<AsyncIterable<TokenEvent>> {
    const call = new Call(timeouts, signal);
    try {
      const started = Date.now();
      const session = affinityOf(request.token_ids, request.cache?.scope).toString(16);
      const more = { "content-type": contentType, [SESSION_HEADER]: session };
      const response = await exchange(call, "POST", GENERATE_PATH, body, more);
      link.moved(body.length, Date.now() - started);
      const isStream = response.headers.get("content-type")?.startsWith(SSE_TYPE) ?? false;
      if (!isStream || response.body === null) throw new OriginError("malformed", "the answer is no event stream");
      const onEnd = contentType === JSON_TYPE ? observePrefill(link, request.exit_layer) : undefined;
      return await TokenStream.open(call, response.body, request, options.answering, onEnd);
    } catch (error) {
      call.end();
      throw error;
    }
  }

  return {
    async generate(request, handoff, signal, spared = handoff?.positions ?? 0) {
      const bytes = handoff === null ? 0 : handoffBytes(handoff, request, wire);
      if (handoff !== null && worthSending(handoff, bytes, spared)) {
        const body = encodeHandoff(handoff, request, wire);
        try {
          return await start(request, body, SAFETENSORS_TYPE, signal);
        } catch (error) {
          if (!isHandoffRefusal(error)) throw error;
          options.onHandoffRefused?.(error);
        }
      }
      return start(request, utf8(JSON.stringify(request)), JSON_TYPE, signal);
    },

    async info(signal) {
      const call = new Call(timeouts, signal);
      try {
        const response = await exchange(call, "GET", INFO_PATH, new Uint8Array(0), {});
        const parsed = originInfoSchema.safeParse(parseJson(await readBounded(call, response)));
        if (!parsed.success) throw new OriginError("malformed", `${INFO_PATH} is outside the protocol`);
        return parsed.data;
      } finally {
        call.end();
      }
    },
  };
}

/** Every prompt that the origin reads from token ids tells how fast it reads. */
const observePrefill =
  (link: LinkMeter, exit: number) =>
  ({ usage, timings }: Extract<TokenEvent, { type: "end" }>): void =>
    link.computed((usage.prompt_tokens - usage.cached_tokens) * exit, timings.prefill_ms);

/** Whether token ids may do better: a 4xx, or an engine that finds out only when it starts. */
const isHandoffRefusal = (error: unknown): error is OriginError =>
  error instanceof OriginError &&
  (error.kind === "refused"
    ? !HOPELESS_STATUSES.includes(error.status ?? 0)
    : error.kind === "interrupted" && HANDOFF_REFUSAL_CODES.some((code) => code === error.code));

/** A status other than 200 as the kind of failure it is. */
function refusal(response: Response, text: string): OriginError {
  const parsed = errorBodySchema.safeParse(parseJson(text));
  const { status } = response;
  const code = parsed.success ? parsed.data.error.code : null;
  const said = parsed.success ? parsed.data.error.message.slice(0, 200) : "no error body";
  const retryAfterSeconds = retryAfterOf(response.headers);
  const kind =
    status === 429 || status === 503
      ? "overloaded"
      : status >= 500
        ? "unreachable"
        : status >= 400
          ? "refused"
          : "malformed";
  return new OriginError(kind, `the origin answered ${status}: ${said}`, { status, code, retryAfterSeconds });
}

/** A short body as text. @throws {OriginError} `malformed` beyond the bound. */
async function readBounded(call: Call, response: Response): Promise<string> {
  if (response.body === null) return "";
  const reader = (response.body as ReadableStream<Uint8Array>).getReader();
  const decoder = new TextDecoder();
  let text = "";
  let bytes = 0;
  for (;;) {
    const { done, value } = await call.race(reader.read(), "interrupted");
    if (done) return text + decoder.decode();
    bytes += value.length;
    if (bytes > MAX_ANSWER_BYTES)
      throw new OriginError("malformed", `an answer of more than ${MAX_ANSWER_BYTES} bytes`);
    text += decoder.decode(value, { stream: true });
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
