/** A request's body as JSON, refused in the words of OpenAI's contract. */
import type { z } from "zod";
import { ApiError } from "../errors.ts";
import { MAX_JSON_DEPTH } from "./bounds.ts";
import { requestError } from "./request-error.ts";

const JSON_TYPE = /^application\/json\s*(;|$)/i;

/**
 * Reads the JSON of a request whose size is already bounded.
 * @throws ApiError 415 another content type; 400 not UTF-8, not JSON, nested too deep
 */
export async function readJson(request: Request): Promise<unknown> {
  const contentType = request.headers.get("content-type");
  if (!JSON_TYPE.test(contentType ?? "")) throw wrongType(contentType);
  const body = await request.arrayBuffer();
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: false }).decode(body);
  } catch (cause) {
    throw badJson("it is not UTF-8", cause);
  }
  if (jsonDepth(text) > MAX_JSON_DEPTH) throw badJson(`it is nested deeper than ${MAX_JSON_DEPTH} levels`);
  try {
    return JSON.parse(text) as unknown;
  } catch (cause) {
    throw badJson("it is not JSON", cause);
  }
}

/**
 * The JSON of a request as its schema has it.
 * @throws ApiError as {@link readJson}; 400 naming the first field at fault
 */
export async function readBody<T extends z.ZodType>(request: Request, schema: T): Promise<z.infer<T>> {
  const json = await readJson(request);
  const parsed = schema.safeParse(json);
  if (!parsed.success) throw requestError(parsed.error, json);
  return parsed.data;
}

/** The deepest nesting of arrays and objects in a JSON text, in one pass; brackets inside strings do not count. */
export function jsonDepth(text: string): number {
  let depth = 0;
  let deepest = 0;
  let inString = false;
  for (let at = 0; at < text.length; at++) {
    const char = text[at];
    if (inString) {
      if (char === "\\") at++;
      else if (char === '"') inString = false;
    } else if (char === '"') inString = true;
    else if (char === "[" || char === "{") deepest = Math.max(deepest, ++depth);
    else if (char === "]" || char === "}") depth--;
  }
  return deepest;
}

function badJson(why: string, cause?: unknown): ApiError {
  return new ApiError(`We could not parse the JSON body of your request: ${why}.`, {
    status: 400,
    type: "invalid_request_error",
    code: null,
    cause,
  });
}

function wrongType(contentType: string | null): ApiError {
  const sent = contentType === null ? "no content type" : `'Content-Type: ${contentType}'`;
  return new ApiError(`This API method only accepts 'application/json' requests, but you sent ${sent}.`, {
    status: 415,
    type: "invalid_request_error",
    code: "unsupported_content_type",
  });
}
