/** What went wrong, in words for the person who asked. Pure. */
import type { BudgetBody } from "./wire.ts";

export type FailureKind = "key" | "budget" | "rate" | "unavailable" | "refused" | "network" | "broken";

export interface Failure {
  readonly kind: FailureKind;
  /** One sentence: what happened. */
  readonly title: string;
  /** What the server said; empty when it said nothing. */
  readonly detail: string;
  readonly requestId: string | null;
  /** Of a spent budget. */
  readonly budget: BudgetBody | null;
  /** Seconds after which it may work; null: unknown, or never. */
  readonly retryAfter: number | null;
}

interface ErrorBody {
  readonly error?: { readonly message?: unknown; readonly code?: unknown };
  readonly budget?: BudgetBody;
}

const TITLES: Readonly<Record<FailureKind, string>> = {
  key: "This key does not open anything here.",
  budget: "The budget is spent.",
  rate: "Too many requests at the moment.",
  unavailable: "No tier can answer right now.",
  refused: "The request was refused.",
  network: "The server cannot be reached.",
  broken: "The answer broke off.",
};

function failure(kind: FailureKind, detail: string, more: Partial<Failure> = {}): Failure {
  return { kind, title: TITLES[kind], detail, requestId: null, budget: null, retryAfter: null, ...more };
}

/** An answer whose status is not 2xx. @param body as it came */
export function failureOf(status: number, headers: Headers, body: string): Failure {
  const parsed = parse(body);
  const retryAfter = Number.parseInt(headers.get("retry-after") ?? "", 10);
  return failure(kindOf(status, parsed.error?.code), messageOf(parsed), {
    requestId: headers.get("x-request-id"),
    budget: parsed.budget ?? null,
    retryAfter: Number.isNaN(retryAfter) ? null : retryAfter,
  });
}

function kindOf(status: number, code: unknown): FailureKind {
  if (status === 401) return "key";
  if (status === 429) return code === "insufficient_quota" ? "budget" : "rate";
  return status >= 500 ? "unavailable" : "refused";
}

/** An error in the middle of a stream. */
export function brokenStream(body: unknown, requestId: string | null): Failure {
  return failure("broken", messageOf(body as ErrorBody), { requestId });
}

/** A stream that ended without its last event. */
export function endedEarly(requestId: string | null): Failure {
  return failure("broken", "The connection was closed before the end.", { requestId });
}

/** The request itself failed: no connection, no address. */
export function unreachable(error: unknown): Failure {
  return failure("network", error instanceof Error ? error.message : String(error));
}

function messageOf(body: ErrorBody): string {
  return typeof body.error?.message === "string" ? body.error.message : "";
}

function parse(body: string): ErrorBody {
  try {
    const value: unknown = JSON.parse(body);
    return typeof value === "object" && value !== null ? value : {};
  } catch {
    return {};
  }
}
