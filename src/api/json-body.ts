/** A request's body as JSON, refused in the words of OpenAI's contract. */
import type { z } from "zod";
import { ApiError } from "../errors.ts";
import { finish, type Sliced } from "../sliced.ts";
import { MAX_JSON_DEPTH, MAX_JSON_MEMBERS, MAX_OBJECT_MEMBERS } from "./bounds.ts";
import { requestError } from "./request-error.ts";

const JSON_TYPE = /^application\/json\s*(;|$)/i;

/** Bytes that a unit of work reads: what is uninterruptible costs at most 20 ms a megabyte. */
const BYTES_PER_UNIT = 50;

/**
 * The body of a request, whose size is already bounded.
 * @throws ApiError 415 another content type than JSON, or a compressed body
 */
export async function jsonBytes(request: Request): Promise<ArrayBuffer> {
  const contentType = request.headers.get("content-type");
  if (!JSON_TYPE.test(contentType ?? "")) throw wrongType(contentType);
  const encoding = request.headers.get("content-encoding")?.toLowerCase() ?? "identity";
  if (encoding !== "identity") throw wrongEncoding(encoding);
  return request.arrayBuffer();
}

/**
 * JSON as its schema has it.
 * @throws ApiError 400 not UTF-8, not JSON, nested too deep, too many members; or naming the first field at fault
 */
export function* parsing<T extends z.ZodType>(bytes: ArrayBuffer, schema: T): Sliced<z.infer<T>> {
  const units = Math.ceil(bytes.byteLength / BYTES_PER_UNIT / 2);
  yield units; // before the work: what is refused is paid for as well
  const json = parseJson(bytes);
  yield units;
  const parsed = schema.safeParse(json);
  if (!parsed.success) throw requestError(parsed.error, json);
  return parsed.data;
}

/** {@link parsing} at once, for the operator's requests. @throws ApiError as {@link jsonBytes} and {@link parsing} */
export async function readBody<T extends z.ZodType>(request: Request, schema: T): Promise<z.infer<T>> {
  return finish(parsing(await jsonBytes(request), schema));
}

/** @throws ApiError 400 not UTF-8, not JSON, nested too deep, too many members */
export function parseJson(bytes: ArrayBuffer): unknown {
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: false }).decode(bytes);
  } catch (cause) {
    throw badJson("it is not UTF-8", cause);
  }
  const { depth, members, widest } = jsonSize(text);
  if (depth > MAX_JSON_DEPTH) throw badJson(`it is nested deeper than ${MAX_JSON_DEPTH} levels`);
  if (members > MAX_JSON_MEMBERS) throw badJson(`its objects have more than ${MAX_JSON_MEMBERS} members`);
  if (widest > MAX_OBJECT_MEMBERS) throw badJson(`one of its objects has more than ${MAX_OBJECT_MEMBERS} members`);
  try {
    return JSON.parse(text) as unknown;
  } catch (cause) {
    throw badJson("it is not JSON", cause);
  }
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COLON = 0x3a;
const [OPEN_ARRAY, CLOSE_ARRAY, OPEN_OBJECT, CLOSE_OBJECT] = [0x5b, 0x5d, 0x7b, 0x7d];

/** How large a JSON text's value is, which makes it dear to parse. */
export interface JsonSize {
  /** The deepest nesting of arrays and objects. */
  readonly depth: number;
  /** Of all objects together. */
  readonly members: number;
  /** Members of the object that has the most, among those that are not too deep. */
  readonly widest: number;
}

/** Measures a JSON text in one pass; what stands in its strings does not count. */
export function jsonSize(text: string): JsonSize {
  const membersAt = new Uint32Array(MAX_JSON_DEPTH + 1); // of the object open at each depth
  let depth = 0;
  let deepest = 0;
  let members = 0;
  let widest = 0;
  let inString = false;
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (inString) {
      if (code === BACKSLASH) at++;
      else if (code === QUOTE) inString = false;
    } else if (code === QUOTE) inString = true;
    else if (code === COLON) {
      members++;
      if (depth >= 0 && depth <= MAX_JSON_DEPTH) widest = Math.max(widest, ++membersAt[depth]!);
    } else if (code === OPEN_ARRAY || code === OPEN_OBJECT) {
      deepest = Math.max(deepest, ++depth);
      if (depth <= MAX_JSON_DEPTH) membersAt[depth] = 0;
    } else if (code === CLOSE_ARRAY || code === CLOSE_OBJECT) depth--;
  }
  return { depth: deepest, members, widest };
}

function badJson(why: string, cause?: unknown): ApiError {
  return new ApiError(`We could not parse the JSON body of your request: ${why}.`, {
    status: 400,
    type: "invalid_request_error",
    code: null,
    cause,
  });
}

function wrongEncoding(encoding: string): ApiError {
  return new ApiError(
    `This API does not take compressed bodies, but you sent 'Content-Encoding: ${encoding}'. Send the JSON as it is.`,
    { status: 415, type: "invalid_request_error", code: "unsupported_content_encoding" },
  );
}

function wrongType(contentType: string | null): ApiError {
  const sent = contentType === null ? "no content type" : `'Content-Type: ${contentType}'`;
  return new ApiError(`This API method only accepts 'application/json' requests, but you sent ${sent}.`, {
    status: 415,
    type: "invalid_request_error",
    code: "unsupported_content_type",
  });
}
