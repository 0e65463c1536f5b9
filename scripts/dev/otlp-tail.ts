/**
 * Exports the Worker's spans from a local runtime, which has no OTLP destinations of its own: a streaming tail Worker hears
 * every span of the platform's tracing and sends an invocation's when it ends. `npm run dev -- --otlp URL` runs it.
 */
import { exportSpans, type AttributeValue, type FinishedSpan } from "../../src/telemetry/otlp.ts";

interface TailEnv {
  /** Base address of the collector. */
  readonly OTLP_URL: string;
}

type Event = TailStream.TailEvent<TailStream.EventType>;
type OpenSpan = { -readonly [K in keyof FinishedSpan]: FinishedSpan[K] } & {
  attributes: Record<string, AttributeValue>;
};

export default {
  async fetch() {
    return new Response(null, { status: 404 });
  },
  tailStream(onset: TailStream.TailEvent<TailStream.Onset>, env: TailEnv) {
    const spans = new Map<string, OpenSpan>();
    openRoot(spans, onset);
    return async (event: Event): Promise<void> => {
      follow(spans, event);
      if (event.event.type !== "outcome") return;
      try {
        await exportSpans(env.OTLP_URL, "sortie-worker", [...spans.values()]);
      } catch (error) {
        console.warn(`spans were not exported: ${String(error)}`);
      }
    };
  },
};

function openRoot(
  spans: Map<string, OpenSpan>,
  { event, spanContext, timestamp }: TailStream.TailEvent<TailStream.Onset>,
): void {
  const { info, spanId } = event;
  const name =
    info?.type === "fetch"
      ? `${info.method} ${new URL(info.url).pathname}`
      : `${event.entrypoint ?? event.executionModel}`;
  const span = newSpan(spanContext.traceId, spanId, spanContext.spanId ?? null, name, timestamp);
  spans.set(spanId, { ...span, kind: "server" });
}

/** What one event says of the spans of its invocation. */
function follow(spans: Map<string, OpenSpan>, { event, spanContext, timestamp }: Event): void {
  const { traceId, spanId = "" } = spanContext;
  const span = spans.get(spanId);
  if (event.type === "spanOpen") {
    spans.set(event.spanId, newSpan(traceId, event.spanId, spanId, event.name, timestamp));
    return;
  }
  if (span === undefined) return;
  if (event.type === "attributes") {
    for (const { name, value } of event.info) if (isValue(value)) span.attributes[name] = value;
  } else if (event.type === "spanUpdate") {
    if (event.info.type === "name") span.name = event.info.name;
    else if (event.info.status.code === "error") span.error = event.info.status.message ?? "failed";
  } else if (event.type === "spanClose" || event.type === "outcome") {
    span.end = timestamp.getTime();
  }
}

function newSpan(traceId: string, spanId: string, parentSpanId: string | null, name: string, at: Date): OpenSpan {
  const [start, end] = [at.getTime(), at.getTime()];
  return { traceId, spanId, parentSpanId, name, kind: "internal", start, end, attributes: {}, error: null };
}

const isValue = (value: unknown): value is string | number | boolean =>
  typeof value === "string" || typeof value === "number" || typeof value === "boolean";
