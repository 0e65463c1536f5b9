/**
 * Finished spans as OTLP/HTTP JSON (https://opentelemetry.io/docs/specs/otlp/#otlphttp), and W3C trace context
 * (https://www.w3.org/TR/trace-context/). For the embedded origin and the local export of the Worker's spans; in production the
 * platform exports the Worker's. A leaf.
 */

export type AttributeValue = string | number | boolean | readonly string[];
export type Attributes = Readonly<Record<string, AttributeValue | null | undefined>>;

export interface FinishedSpan {
  /** 32 hexadecimal digits. */
  readonly traceId: string;
  /** 16 hexadecimal digits. */
  readonly spanId: string;
  readonly parentSpanId: string | null;
  readonly name: string;
  readonly kind: "internal" | "server" | "client";
  /** Milliseconds since 1970. */
  readonly start: number;
  readonly end: number;
  readonly attributes: Attributes;
  /** What failed; null: nothing. */
  readonly error: string | null;
}

/** OTLP's numbers for kinds and states. */
const KINDS = { internal: 1, server: 2, client: 3 } as const;
const STATUS_ERROR = 2;
const NANO_PER_MS = 1_000_000n;

/** Path that a collector listens on, behind its base address. */
const TRACES_PATH = "/v1/traces";

/** The body of one export. @param service as `service.name` */
export function traceBody(service: string, spans: readonly FinishedSpan[]): object {
  return {
    resourceSpans: [
      {
        resource: { attributes: attributesOf({ "service.name": service }) },
        scopeSpans: [{ scope: { name: "sortie" }, spans: spans.map(spanBody) }],
      },
    ],
  };
}

/**
 * Sends spans to a collector.
 * @param endpoint base address, e.g. `http://127.0.0.1:4318`, as OTEL_EXPORTER_OTLP_ENDPOINT has it
 * @throws Error when it does not take them
 */
export async function exportSpans(endpoint: string, service: string, spans: readonly FinishedSpan[]): Promise<void> {
  if (spans.length === 0) return;
  const response = await fetch(new URL(TRACES_PATH, endpoint), {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(traceBody(service, spans)),
  });
  if (!response.ok) throw new Error(`the collector answered ${response.status}: ${await response.text()}`);
  await response.body?.cancel();
}

function spanBody({ traceId, spanId, parentSpanId, name, kind, start, end, attributes, error }: FinishedSpan): object {
  return {
    traceId,
    spanId,
    ...(parentSpanId === null ? {} : { parentSpanId }),
    name,
    kind: KINDS[kind],
    startTimeUnixNano: nanoseconds(start),
    endTimeUnixNano: nanoseconds(end),
    attributes: attributesOf(attributes),
    ...(error === null ? {} : { status: { code: STATUS_ERROR, message: error } }),
  };
}

/** 64-bit numbers are text in OTLP's JSON. */
const nanoseconds = (ms: number): string => String(BigInt(Math.round(ms)) * NANO_PER_MS);

function attributesOf(attributes: Attributes): object[] {
  return Object.entries(attributes).flatMap(([key, value]) =>
    value === null || value === undefined ? [] : [{ key, value: valueOf(value) }],
  );
}

function valueOf(value: AttributeValue): object {
  if (typeof value === "string") return { stringValue: value };
  if (typeof value === "boolean") return { boolValue: value };
  if (typeof value === "number") return Number.isInteger(value) ? { intValue: String(value) } : { doubleValue: value };
  return { arrayValue: { values: value.map((stringValue) => ({ stringValue })) } };
}

const TRACEPARENT = /^00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})$/;

export interface TraceContext {
  readonly traceId: string;
  readonly spanId: string;
}

/** @returns null for what is no traceparent of version 00 */
export function parseTraceparent(header: string | null | undefined): TraceContext | null {
  const [, traceId = "", spanId = ""] = TRACEPARENT.exec(header ?? "") ?? [];
  const known = traceId !== "" && !/^0+$/.test(traceId) && !/^0+$/.test(spanId);
  return known ? { traceId, spanId } : null;
}

export function formatTraceparent({ traceId, spanId, traceFlags }: TraceContext & { traceFlags: number }): string {
  return `00-${traceId}-${spanId}-${traceFlags.toString(16).padStart(2, "0")}`;
}

/** Random hexadecimal digits. @param bytes 16 for a trace, 8 for a span */
export function randomId(bytes: 8 | 16): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(bytes)), (byte) => byte.toString(16).padStart(2, "0")).join(
    "",
  );
}
