/** Errors to what the client may know, and the log what it should. */
import { ApiError } from "../errors.ts";
import { describeError, log } from "../log.ts";

/** Statuses from here on are our fault. */
const SERVER_ERROR = 500;

/**
 * The error as the client may see it; logged here, once.
 * @param gone the client has hung up: whatever fails then is no fault
 */
export function toApiError(error: unknown, requestId: string, gone: boolean): ApiError {
  const known = gone ? clientGone(error) : error instanceof ApiError ? error : dull(error, requestId);
  const { status, code, param } = known;
  const fields = { request_id: requestId, status, code, param };
  if (status >= SERVER_ERROR) log("request.failed", { ...fields, error: describeError(error) }, "error");
  else log("request.refused", fields);
  return known;
}

function dull(cause: unknown, requestId: string): ApiError {
  return new ApiError(`The server had an error while processing your request. Request id: ${requestId}.`, {
    status: 500,
    type: "server_error",
    code: "internal_error",
    cause,
  });
}

function clientGone(cause: unknown): ApiError {
  return new ApiError("The client closed the request.", {
    status: 499,
    type: "invalid_request_error",
    code: "client_closed_request",
    cause,
  });
}
