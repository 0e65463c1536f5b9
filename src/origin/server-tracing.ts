/** One answer of the embedded origin as spans, continuing the Worker's trace. Exported where OTEL_EXPORTER_OTLP_ENDPOINT names a collector. */
import type { Timings } from "../generation.ts";
import { exportSpans, parseTraceparent, randomId, type Attributes, type FinishedSpan } from "../telemetry/otlp.ts";

/** As OpenTelemetry's own variable: https://opentelemetry.io/docs/specs/otel/protocol/exporter/ */
export const OTLP_VARIABLE = "OTEL_EXPORTER_OTLP_ENDPOINT";
const SERVICE = "sortie-origin";

export interface AnswerTrace {
  /** `traceparent` of the request; absent: a trace of its own. */
  readonly parent: string | null | undefined;
  /** Milliseconds since 1970. */
  readonly start: number;
  readonly end: number;
  /** null: it was not finished. */
  readonly timings: Timings | null;
  readonly attributes: Attributes;
  readonly error: string | null;
}

/** A span of the whole, and of each phase that the engine timed. */
export function answerSpans({ parent, start, end, timings, attributes, error }: AnswerTrace): FinishedSpan[] {
  const context = parseTraceparent(parent);
  const traceId = context?.traceId ?? randomId(16);
  const whole: FinishedSpan = {
    traceId,
    spanId: randomId(8),
    parentSpanId: context?.spanId ?? null,
    name: "generate",
    kind: "server",
    start,
    end,
    attributes,
    error,
  };
  let at = start;
  const phases = Object.entries(timings ?? {}).map(([name, ms]): FinishedSpan => {
    const from = at;
    at = Math.min(from + ms, end);
    const phase = { name: name.replace(/_ms$/, ""), start: from, end: at, attributes: {}, error: null };
    return { ...phase, traceId, spanId: randomId(8), parentSpanId: whole.spanId, kind: "internal" };
  });
  return [whole, ...phases];
}

/**
 * Sends answers' spans. Never fails, never waits: a collector that is gone must not slow an answer.
 * @param endpoint null: nothing is sent
 * @param onFailure told why spans were lost
 */
export function traceExporter(
  endpoint: string | null,
  onFailure: (error: string) => void,
): (trace: AnswerTrace) => void {
  if (endpoint === null) return () => {};
  return (trace) =>
    void exportSpans(endpoint, SERVICE, answerSpans(trace)).catch((error: unknown) => onFailure(String(error)));
}
