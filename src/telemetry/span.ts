/** Spans of a request, by the platform's own tracing: it nests, samples and exports them (docs/telemetry.md). */
import { tracing } from "cloudflare:workers";
import { formatTraceparent } from "./otlp.ts";

export type SpanAttributes = Readonly<Record<string, string | number | boolean | undefined>>;

/** A span that is ended by hand. */
export interface OpenSpan {
  set(attributes: SpanAttributes): void;
  /** @param error what failed; nothing when it went well */
  end(error?: string): void;
  readonly traceId: string;
}

/** A span around work; it ends when the work, or its promise, does. */
export function inSpan<T>(name: string, attributes: SpanAttributes, work: () => T): T {
  return tracing.enterSpan(name, (span) => {
    span.setAttributes({ ...attributes });
    return work();
  });
}

/** A span whose children the work's spans are, and which stays open after it. */
export function withOpenSpan<T>(name: string, attributes: SpanAttributes, work: (span: OpenSpan) => T): T {
  return tracing.startActiveSpan(name, (span) => {
    span.setAttributes({ ...attributes });
    return work(endedByHand(span));
  });
}

/** A child of whatever span is active. */
export const openSpan = (name: string): OpenSpan => endedByHand(tracing.startSpan(name));

function endedByHand(span: Span): OpenSpan {
  let ended = false;
  return {
    set: (attributes) => void span.setAttributes({ ...attributes }),
    end(error) {
      if (ended) return;
      ended = true;
      if (error !== undefined) span.setStatus({ code: "error", message: error });
      span.end();
    },
    traceId: span.spanContext().traceId,
  };
}

/** The active span for another service; null where nothing is traced. */
export function traceparent(): string | null {
  const context = tracing.getActiveSpan()?.spanContext();
  return context === undefined || /^0+$/.test(context.traceId) ? null : formatTraceparent(context);
}
