/** Errors as OpenAI's clients expect them. A leaf. */

/** OpenAI's `error.type` values that Sortie uses. */
export type ErrorType =
  | "invalid_request_error"
  | "authentication_error"
  | "permission_error"
  | "insufficient_quota"
  | "rate_limit_error"
  | "server_error";

export interface ErrorDetails {
  readonly status: 400 | 401 | 403 | 404 | 405 | 413 | 415 | 429 | 431 | 499 | 500 | 502 | 503 | 504;
  readonly type: ErrorType;
  readonly code: string | null;
  /** The request field at fault, e.g. `messages[0].content`. */
  readonly param?: string | null;
  readonly headers?: Readonly<Record<string, string>>;
  /** Stands beside `error` in the body: what a program may want to know. */
  readonly extra?: Readonly<Record<string, unknown>>;
  /** The rich reason: logged, never sent. */
  readonly cause?: unknown;
}

/** An error whose message is safe to send to the client. */
export class ApiError extends Error {
  readonly status: ErrorDetails["status"];
  readonly type: ErrorType;
  readonly code: string | null;
  readonly param: string | null;
  readonly headers: Readonly<Record<string, string>>;
  readonly extra: Readonly<Record<string, unknown>>;

  constructor(message: string, details: ErrorDetails) {
    super(message, { cause: details.cause });
    this.name = "ApiError";
    this.status = details.status;
    this.type = details.type;
    this.code = details.code;
    this.param = details.param ?? null;
    this.headers = details.headers ?? {};
    this.extra = details.extra ?? {};
  }

  /** The body on the wire: all four keys, always. */
  toBody(): { error: { message: string; type: string; param: string | null; code: string | null } } {
    return { error: { message: this.message, type: this.type, param: this.param, code: this.code }, ...this.extra };
  }
}
