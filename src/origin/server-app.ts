/** The embedded origin's routes: `sortie-origin/1` (protocol.ts) over an engine. */
import { Hono } from "hono";
import { ApiError } from "../errors.ts";
import type { Timings, TokenEvent } from "../generation.ts";
import { HandoffError } from "../model/errors.ts";
import type { NodeEngine } from "../model/node-client.ts";
import {
  BLOCKS_PATH,
  FINGERPRINT_HEADER,
  GENERATE_PATH,
  type HandoffRefusalCode,
  HEALTH_PATH,
  INFO_PATH,
  METRICS_PATH,
  ORIGIN_PROTOCOL,
  type OriginInfo,
  SSE_TYPE,
} from "./protocol.ts";
import { answerStream } from "./server-answer.ts";
import { answerBlocks } from "./server-blocks.ts";
import type { Metrics, Outcome } from "./server-metrics.ts";
import type { AnswerTrace } from "./server-tracing.ts";
import type { RequestQueue } from "./server-queue.ts";
import { type Accepted, readGenerate, readSigned, refuse, requireMetricsToken } from "./server-requests.ts";
import type { NonceStore } from "./signing.ts";

/** The engine as the routes need it. */
export type OriginEngine = Pick<
  NodeEngine,
  "bundle" | "exits" | "prefillTokensPerSecond" | "generate" | "blocks" | "cacheState"
>;

/** One line of the log: never text, never token ids. */
export type LogLine = { readonly level: "info" | "warn" | "error"; readonly event: string } & Readonly<
  Record<string, string | number | boolean | null>
>;

export interface OriginDeps {
  readonly engine: OriginEngine;
  readonly key: CryptoKey;
  readonly nonces: NonceStore;
  /** Opens /metrics; null: it is off. */
  readonly metricsToken: string | null;
  readonly queue: RequestQueue;
  readonly metrics: Metrics;
  /** True once the server ends: nothing new is taken. */
  readonly draining: () => boolean;
  /** Aborted when the server ends whatever still runs. */
  readonly serverSignal: AbortSignal;
  /** Told of every answer that failed for a reason of ours: the engine may be gone. */
  readonly onFailure: () => void;
  readonly log: (line: LogLine) => void;
  /** Told of every answer, for the trace that it belongs to. */
  readonly trace: (trace: AnswerTrace) => void;
}

export function createOriginApp(deps: OriginDeps): Hono {
  const { engine, key, nonces, metricsToken, queue, metrics, draining, log } = deps;
  const app = new Hono();

  app.get(HEALTH_PATH, (c) => (draining() ? c.json({ status: "draining" }, 503) : c.json({ status: "ok" })));

  app.get(INFO_PATH, async (c) => {
    await readSigned(c.req.raw, key, nonces);
    return c.json(info(engine));
  });

  app.get(BLOCKS_PATH, async (c) => {
    await readSigned(c.req.raw, key, nonces);
    const answer = await answerBlocks(c.req.raw, key, engine);
    metrics.blocksGiven(answer.status === 200);
    return answer;
  });

  app.get(METRICS_PATH, async (c) => {
    await requireMetricsToken(c.req.raw, metricsToken);
    return c.text(metrics.render(await engine.cacheState()), 200, { "content-type": "text/plain; version=0.0.4" });
  });

  app.post(GENERATE_PATH, async (c) => {
    const body = await readSigned(c.req.raw, key, nonces);
    const { fingerprint } = engine.bundle;
    if ((c.req.header(FINGERPRINT_HEADER) ?? fingerprint) !== fingerprint) {
      throw refuse(404, "checkpoint_mismatch", `This origin serves the checkpoint ${fingerprint}.`);
    }
    const accepted = readGenerate(body, c.req.header("content-type") ?? "", engine.bundle, engine.exits);
    if (draining()) throw refuse(503, "origin_draining", "The origin is shutting down.");
    const place = queue.enter();
    if (place === null) throw refuse(503, "origin_overloaded", "The origin is busy.");
    if (accepted.handoff !== null) metrics.handoffAccepted();
    const record = startRecord(accepted, body.length, c.req.header("traceparent"));
    const stream = answerStream({
      place,
      start: (signal) => engine.generate(accepted.request, signal, accepted.handoff ?? undefined),
      serverSignal: deps.serverSignal,
      onEvent: (event) => {
        record.event(event);
        if (event.type === "token") metrics.tokenComputed(event.exit);
        else metrics.answered(event.usage, event.timings);
      },
      onEnd: (outcome, cause) => {
        metrics.requestEnded(outcome);
        log(record.line(outcome, cause));
        deps.trace(record.trace(outcome));
        if (outcome === "failed" && describe(cause).code === "origin_failed") deps.onFailure();
      },
      describe,
    });
    return c.body(stream, 200, {
      "content-type": SSE_TYPE,
      "cache-control": "no-store",
      "x-accel-buffering": "no", // proxies must not hold tokens back
    });
  });

  app.notFound((c) => c.json(refuse(404, "not_found", `${ORIGIN_PROTOCOL} has no such path.`).toBody(), 404));

  app.onError((error, c) => {
    const refusal = describe(error);
    const cause = refusal === error ? null : reason(error);
    if (c.req.path === GENERATE_PATH)
      metrics.requestEnded(refusal.status >= 500 && cause !== null ? "failed" : "refused");
    const { status, code } = refusal;
    // Every isolate asks once without knowing this start: no news.
    const refused = code === "signature_boot_mismatch" ? "info" : "warn";
    log({ level: cause === null ? refused : "error", event: "refusal", path: c.req.path, status, code, cause });
    return c.json(refusal.toBody(), status as 400, refusal.headers);
  });

  return app;
}

function info({ bundle, exits, prefillTokensPerSecond }: OriginEngine): OriginInfo {
  return {
    protocol: ORIGIN_PROTOCOL,
    model: bundle.name,
    fingerprint: bundle.fingerprint,
    numerics: bundle.numerics,
    handoff_numerics: [bundle.numerics],
    exits: [...exits],
    context_length: bundle.shape.context_length,
    prefill_tokens_per_second: prefillTokensPerSecond,
    decoding: ["early_exit"],
  };
}

const HANDOFF_CODES: Readonly<Record<HandoffError["fault"], HandoffRefusalCode>> = {
  fingerprint: "handoff_fingerprint_mismatch",
  numerics: "handoff_numerics_mismatch",
  exit: "handoff_exit_mismatch",
  shape: "handoff_shape_mismatch",
  tokens: "handoff_length_mismatch",
  length: "handoff_length_mismatch",
};

/** What the client may know of a failure. */
function describe(error: unknown): ApiError {
  if (error instanceof ApiError) return error;
  if (error instanceof HandoffError) return refuse(400, HANDOFF_CODES[error.fault], error.message);
  return refuse(500, "origin_failed", "The origin failed; its log says why.");
}

/** The rich reason, for the log. */
const reason = (cause: unknown): string =>
  cause instanceof Error ? (cause.stack ?? cause.message) : `thrown: ${JSON.stringify(cause)}`;

/** Gathers one request's log line. */
function startRecord({ request, handoff }: Accepted, bodyBytes: number, parent: string | undefined) {
  const start = Date.now();
  const startedAt = performance.now();
  const sinceStart = (): number => Math.round(performance.now() - startedAt);
  let firstTokenMs: number | null = null;
  let tokens = 0;
  let timings: Timings | null = null;
  return {
    event(event: TokenEvent): void {
      if (event.type === "token") {
        tokens += 1;
        firstTokenMs ??= sinceStart();
      } else {
        timings = event.timings;
      }
    },
    line: (outcome: Outcome, cause?: unknown): LogLine => ({
      level: outcome === "failed" ? "error" : "info",
      event: "generate",
      request_id: request.request_id,
      outcome,
      exit_layer: request.exit_layer,
      prompt_tokens: request.token_ids.length,
      tokens,
      body_bytes: bodyBytes,
      handoff_exit: handoff?.exitLayer ?? null,
      handoff_positions: handoff?.positions ?? null,
      first_token_ms: firstTokenMs,
      total_ms: sinceStart(),
      ...Object.fromEntries(Object.entries(timings ?? {}).map(([name, ms]) => [name, Math.round(ms)])),
      ...(cause === undefined ? {} : { cause: reason(cause) }),
    }),
    trace: (outcome: Outcome): AnswerTrace => ({
      parent,
      start,
      end: Date.now(),
      timings,
      attributes: {
        "sortie.request_id": request.request_id,
        "sortie.exit": request.exit_layer,
        "sortie.tier": "origin",
        "sortie.handoff.exit": handoff?.exitLayer,
        "sortie.handoff.positions": handoff?.positions,
        "gen_ai.usage.input_tokens": request.token_ids.length,
        "gen_ai.usage.output_tokens": tokens,
      },
      error: outcome === "failed" ? "the answer failed" : null,
    }),
  };
}
