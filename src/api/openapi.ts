/** The OpenAPI 3.1 document of a table of endpoints. Pure. */
import { z } from "zod";
import type { ErrorDetails } from "../errors.ts";
import { errorSchema } from "./catalogue-answer.ts";

/** The package's own version; a test holds it to package.json. */
export const API_VERSION = "0.1.0";

const JSON_TYPE = "application/json";

export type ErrorStatus = ErrorDetails["status"];

/** Who may ask: the scheme of the document, null for everyone, and the refusals that it brings. */
const ACCESS = {
  open: { scheme: null, errors: [] },
  key: {
    scheme: { type: "http", scheme: "bearer", description: "A tenant's key, `sk-sortie-<tenant>-<secret>`." },
    errors: [401, 503],
  },
  admin: {
    scheme: { type: "http", scheme: "bearer", description: "The operator's token: the deployment's ADMIN_TOKEN." },
    errors: [401, 429, 503],
  },
} as const satisfies Record<string, { scheme: object | null; errors: readonly ErrorStatus[] }>;

export interface Endpoint {
  readonly method: "get" | "post" | "put" | "patch" | "delete";
  /** As OpenAPI writes it, e.g. `/v1/models/{id}`. */
  readonly path: `/${string}`;
  /** Unique, in PascalCase: names the operation and its schemas. */
  readonly name: string;
  readonly summary: string;
  readonly access: keyof typeof ACCESS;
  /** Parts of the path in braces. */
  readonly pathParameters?: Readonly<Record<string, z.ZodType>>;
  /** All optional. */
  readonly query?: Readonly<Record<string, z.ZodType>>;
  /** JSON that is sent. */
  readonly body?: z.ZodType;
  /** By media type; of `text/event-stream`, the data of one event. */
  readonly answer: Readonly<Record<string, z.ZodType>>;
  /** Statuses the answer comes with; 200 when left out. */
  readonly statuses?: readonly number[];
  /** Refusals besides those that its access and its body bring. */
  readonly errors: readonly ErrorStatus[];
}

/** Refusals that any address may give: header bounds, an error of ours. */
const COMMON_ERRORS: readonly ErrorStatus[] = [431, 500];
const BODY_ERRORS: readonly ErrorStatus[] = [400, 413, 415];

const ERROR_MEANINGS: Readonly<Record<ErrorStatus, string>> = {
  400: "The request is wrong; `param` and `code` say what.",
  401: "No key or token, or a wrong one.",
  403: "The key may not do this.",
  404: "Nothing of that name.",
  405: "The address does not know this method.",
  413: "The body is too large.",
  415: "The body is no JSON by its content type.",
  429: "A rate limit or the budget is reached; `retry-after` or `x-should-retry: false` says what to do.",
  431: "The headers are too large.",
  499: "The client is gone.",
  500: "An error of ours; its reason is in the log under the request id.",
  502: "The origin broke off.",
  503: "No tier, or no ledger, can answer; `retry-after` says when to ask again.",
  504: "The origin was silent for too long.",
};

interface JsonObject {
  [key: string]: unknown;
}

export function openApiDocument(endpoints: readonly Endpoint[]): JsonObject {
  const paths: Record<string, JsonObject> = {};
  const schemas: JsonObject = { Error: jsonSchema(errorSchema, "output") };
  for (const endpoint of endpoints) {
    const { name, body, answer } = endpoint;
    if (body) schemas[`${name}Request`] = jsonSchema(body, "input");
    for (const [type, schema] of Object.entries(answer)) schemas[answerName(name, type)] = jsonSchema(schema, "output");
    paths[endpoint.path] = { ...paths[endpoint.path], [endpoint.method]: operation(endpoint) };
  }
  return {
    openapi: "3.1.0",
    info: {
      title: "Sortie",
      version: API_VERSION,
      description: "OpenAI's protocol over one sorted, early-exit language model.",
      license: { name: "Apache-2.0", identifier: "Apache-2.0" },
    },
    paths,
    components: { schemas, securitySchemes: schemes() },
  };
}

function schemes(): JsonObject {
  const named = Object.entries(ACCESS).map(([name, { scheme }]) => [name, scheme] as const);
  return Object.fromEntries(named.filter(([, scheme]) => scheme !== null));
}

function operation(endpoint: Endpoint): JsonObject {
  const { name, summary, access, body, answer, statuses = [200] } = endpoint;
  const content = Object.keys(answer).map((type) => [type, { schema: reference(answerName(name, type)) }]);
  const parameters = parametersOf(endpoint);
  return {
    operationId: name,
    summary,
    security: ACCESS[access].scheme === null ? [] : [{ [access]: [] }],
    ...(parameters.length > 0 && { parameters }),
    ...(body && {
      requestBody: { required: true, content: { [JSON_TYPE]: { schema: reference(`${name}Request`) } } },
    }),
    responses: {
      ...Object.fromEntries(
        statuses.map((status) => [status, { description: "The answer.", content: Object.fromEntries(content) }]),
      ),
      ...Object.fromEntries(errorsOf(endpoint).map((status) => [status, errorResponse(status)])),
    },
  };
}

function parametersOf({ pathParameters: path = {}, query = {} }: Endpoint): JsonObject[] {
  const described = (place: "path" | "query", required: boolean) => (entry: [string, z.ZodType]) => ({
    name: entry[0],
    in: place,
    required,
    schema: jsonSchema(entry[1], "input"),
  });
  return [
    ...Object.entries(path).map(described("path", true)),
    ...Object.entries(query).map(described("query", false)),
  ];
}

/** Every status but 200 that an endpoint may answer with, ascending. */
function errorsOf({ access, body, errors }: Endpoint): ErrorStatus[] {
  const all = [...COMMON_ERRORS, ...ACCESS[access].errors, ...(body ? BODY_ERRORS : []), ...errors];
  return [...new Set(all)].toSorted((a, b) => a - b);
}

function errorResponse(status: ErrorStatus): JsonObject {
  return { description: ERROR_MEANINGS[status], content: { [JSON_TYPE]: { schema: reference("Error") } } };
}

/** An event stream's schema is that of one event's data. */
function answerName(name: string, type: string): string {
  if (type === JSON_TYPE) return `${name}Answer`;
  return type === "text/event-stream"
    ? `${name}Chunk`
    : `${name}As${type.replace(/^.*\//, "").toUpperCase().replaceAll(/\W/g, "")}`;
}

function reference(name: string): JsonObject {
  return { $ref: `#/components/schemas/${name}` };
}

function jsonSchema(schema: z.ZodType, io: "input" | "output"): JsonObject {
  const { $schema: _, ...json } = z.toJSONSchema(schema, { io });
  return json;
}
