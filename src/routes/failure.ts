/** Errors to what the client may know, and the log what it should. */
import { ApiError } from "../errors.ts";
import { describeError, log } from "../log.ts";
import { OriginError } from "../origin/origin-error.ts";

/** Statuses from here on are our fault. */
const SERVER_ERROR = 500;

/**
 * The error as the client may see it; logged here, once.
 * @param gone the client has hung up: whatever fails then is no fault
 */
export function toApiError(error: unknown, requestId: string, gone: boolean): ApiError {
  const known = gone ? clientGone(error) : told(error);
  const { status, code, param } = known;
  const fields = { request_id: requestId, status, code, param };
  if (status < SERVER_ERROR) {
    log("request.refused", fields);
    return known;
  }
  log("request.failed", { ...fields, error: describeError(error) }, "error");
  return withRequestId(known, requestId);
}

/** What is not meant for the client is told dully. */
function told(error: unknown): ApiError {
  if (error instanceof ApiError) return error;
  if (error instanceof OriginError) return brokenOff(error);
  return failure(500, "internal_error", "The server had an error while processing your request.", error);
}

/** An origin that fails before its first token is replaced, if it can be; this is one that fails in mid-answer. */
function brokenOff(error: OriginError): ApiError {
  return error.kind === "timeout"
    ? failure(504, "origin_timeout", "The model took too long to go on with the answer.", error)
    : failure(502, "origin_failed", "The model broke off the answer.", error);
}

function failure(status: 500 | 502 | 504, code: string, message: string, cause: unknown): ApiError {
  return new ApiError(message, { status, type: "server_error", code, cause });
}

/** The id by which the operator finds the cause in the log. */
function withRequestId(error: ApiError, requestId: string): ApiError {
  return new ApiError(`${error.message} Request id: ${requestId}.`, error);
}

function clientGone(cause: unknown): ApiError {
  return new ApiError("The client closed the request.", {
    status: 499,
    type: "invalid_request_error",
    code: "client_closed_request",
    cause,
  });
}
