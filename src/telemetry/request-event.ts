/** What one request was, in one value: the log's line, the dataset's point and the counters are made from it. Pure. */
import type { LogValue } from "../log.ts";

export type Ending = "completed" | "cancelled" | "failed";

/** A request that got an answer, whole or not. Never its text. */
export interface AnswerRecord {
  readonly ending: Ending;
  readonly requestId: string;
  readonly tenant: string;
  readonly keyId: string;
  /** Of the checkpoint. */
  readonly fingerprint: string;
  readonly operation: "chat" | "text_completion";
  readonly choices: number;
  readonly requestModel: string;
  readonly responseModel: string;
  readonly firstExit: number;
  readonly firstTier: "edge" | "origin";
  /** The exit and tier that spoke last; of an answer that was not completed, the first. */
  readonly exit: number;
  readonly tier: "edge" | "origin";
  /** As `x-sortie-route` says it. */
  readonly route: string;
  /** As `x-sortie-cache` says it; null: no cache was asked. */
  readonly cache: string | null;
  readonly finishReasons: readonly string[];
  readonly inputTokens: number;
  readonly cachedTokens: number;
  /** Output tokens by exit layer. */
  readonly tokensByExit: Readonly<Record<string, number>>;
  /** Micro-dollars. */
  readonly cost: number;
  readonly fullDepthCost: number;
  /** Milliseconds from the request's arrival; null: no token was sent. */
  readonly firstTokenMs: number | null;
  readonly durationMs: number;
  readonly timings: Readonly<Record<string, number>> | null;
  /** W3C trace id, where the platform traces. */
  readonly traceId: string | null;
}

/** A request that was refused, or failed before its first token. */
export interface RefusalRecord {
  readonly ending: "refused";
  readonly status: number;
  readonly code: string;
}

export type RequestRecord = AnswerRecord | RefusalRecord;

export const outputTokens = ({ tokensByExit }: AnswerRecord): number =>
  Object.values(tokensByExit).reduce((sum, tokens) => sum + tokens, 0);

/** Milliseconds per output token after the first; null when there is none. */
export function perTokenMs(record: AnswerRecord): number | null {
  const after = outputTokens(record) - 1;
  return record.firstTokenMs === null || after < 1 ? null : (record.durationMs - record.firstTokenMs) / after;
}

/** The gate and the reason of a route; empty where it names none. @param route e.g. `gate=prompt; score=0.9; reason=easy` */
export function routeParts(route: string): {
  readonly gate: string;
  readonly reason: string;
  readonly score: number | null;
  /** Range of exits and quality target, e.g. `3-12 0.95`; null: the gates did not choose. */
  readonly target: string | null;
} {
  const valueOf = (name: string): string | null =>
    route
      .split(";")
      .map((part) => part.trim())
      .find((part) => part.startsWith(`${name}=`))
      ?.slice(name.length + 1) ?? null;
  const score = valueOf("score");
  const [range, quality] = [valueOf("range"), valueOf("quality")];
  const target = range === null || quality === null ? null : `${range} ${quality}`;
  const reason = valueOf("reason") ?? (route.startsWith("degraded") ? "degraded" : "");
  return { gate: valueOf("gate") ?? "none", reason, score: score === null ? null : Number(score), target };
}

/** The line of the log. Attribute names follow OpenTelemetry's for generative AI. */
export function logFields(record: AnswerRecord): Record<string, LogValue> {
  return {
    request_id: record.requestId,
    trace_id: record.traceId ?? undefined,
    tenant: record.tenant,
    key_id: record.keyId,
    fingerprint: record.fingerprint,
    first_exit: record.firstExit,
    first_tier: record.firstTier,
    exit: record.exit,
    tier: record.tier,
    route: record.route,
    cache: record.cache ?? undefined,
    tokens_by_exit: record.tokensByExit,
    cached_tokens: record.cachedTokens,
    cost_micro_usd: record.cost,
    full_depth_cost_micro_usd: record.fullDepthCost,
    first_token_ms: record.firstTokenMs,
    per_token_ms: perTokenMs(record),
    duration_ms: record.durationMs,
    ...genAiAttributes(record),
    ...record.timings,
  };
}

/** OpenTelemetry's semantic conventions for generative AI: log and span have the same. */
export function genAiAttributes(record: AnswerRecord): Record<string, string | number | readonly string[]> {
  return {
    "gen_ai.operation.name": record.operation,
    "gen_ai.provider.name": "sortie",
    "gen_ai.request.model": record.requestModel,
    "gen_ai.response.model": record.responseModel,
    "gen_ai.request.choice.count": record.choices,
    "gen_ai.response.finish_reasons": record.finishReasons,
    "gen_ai.usage.input_tokens": record.inputTokens,
    "gen_ai.usage.output_tokens": outputTokens(record),
  };
}

/** Of the span: the platform's attributes are single values. */
export function spanAttributes(record: AnswerRecord): Record<string, string | number | undefined> {
  const { finishReasons } = record;
  return {
    ...genAiAttributes(record),
    "gen_ai.response.finish_reasons": finishReasons.join(","),
    "gen_ai.server.time_to_first_token": record.firstTokenMs === null ? undefined : record.firstTokenMs / 1_000,
    "sortie.request_id": record.requestId,
    "sortie.tenant": record.tenant,
    "sortie.exit": record.exit,
    "sortie.tier": record.tier,
    "sortie.route": record.route,
    "sortie.cache": record.cache ?? undefined,
    "sortie.cost_micro_usd": record.cost,
  };
}
