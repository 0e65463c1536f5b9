/** What can go wrong between the Worker and an origin. */

/**
 * - `unreachable`  no answer: connection refused, or an origin or proxy that answers 5xx
 * - `timeout`      headers, first event or next event did not come in time
 * - `refused`      4xx: the origin understood and declined; `code` says why
 * - `malformed`    an answer outside the protocol
 * - `interrupted`  the stream broke after it began: cut short, or an error event
 * - `overloaded`   429 or 503: ask again after `retryAfterSeconds`
 */
export type OriginErrorKind = "unreachable" | "timeout" | "refused" | "malformed" | "interrupted" | "overloaded";

export interface OriginErrorDetails {
  readonly status?: number;
  /** `error.code` of the refusal. */
  readonly code?: string | null;
  readonly retryAfterSeconds?: number | null;
  readonly cause?: unknown;
}

/** Seconds that an origin may send a client away for: what it says longer is not believed. */
const MAX_RETRY_AFTER_SECONDS = 60;

/** The header `retry-after` in seconds, as far as it is believed; null when it is absent or no number. */
export function retryAfterOf(headers: Headers): number | null {
  const seconds = Number.parseInt(headers.get("retry-after") ?? "", 10);
  return Number.isNaN(seconds) ? null : Math.min(Math.max(seconds, 0), MAX_RETRY_AFTER_SECONDS);
}

/** A failure of the origin. Its message is for the log: it may quote what the origin said. */
export class OriginError extends Error {
  readonly kind: OriginErrorKind;
  /** HTTP status, null when there was no answer. */
  readonly status: number | null;
  readonly code: string | null;
  readonly retryAfterSeconds: number | null;

  constructor(kind: OriginErrorKind, message: string, details: OriginErrorDetails = {}) {
    super(message, { cause: details.cause });
    this.name = "OriginError";
    this.kind = kind;
    this.status = details.status ?? null;
    this.code = details.code ?? null;
    this.retryAfterSeconds = details.retryAfterSeconds ?? null;
  }
}
