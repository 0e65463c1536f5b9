/** What every answer must be, whatever was asked. */
import { expect } from "vitest";
import { z } from "zod";
import type { ApiDocument, ApiOperation } from "./fuzz-operations.ts";
import type { FuzzRequest } from "./fuzz-requests.ts";
import type { JsonSchema } from "./schema-arbitrary.ts";

/** A stack trace's line, a path of ours, an error's class. */
const INTERNALS = /\n\s+at |node_modules|\/src\/|\.ts:\d|\b(Type|Range|Reference|Zod|Origin|Engine|Template)Error\b/;

/** Refusals of bodies that the document's schema allows: rules between fields, and what only the model knows. */
const BEYOND_SCHEMA = [
  "no_exit_left",
  "context_length_exceeded",
  "empty_prompt",
  "invalid_token",
  "invalid_messages",
  "invalid_value max_tokens",
  "invalid_value top_logprobs",
  "invalid_value stream_options",
  "invalid_value n",
  "invalid_value overlap_seconds",
  "invalid_value policy.budgets", // two of one name
  "invalid_exits",
  "invalid_value expires_at", // past
  "invalid_value label", // control characters
  "invalid_value keys[].label",
  "too_many_keys",
];

export interface Oracle {
  /** @throws AssertionError when the answer is not what it must be; @returns its status */
  check(request: FuzzRequest, response: Response): Promise<number>;
}

/** @param secrets texts that no answer may hold */
export function createOracle(document: ApiDocument, secrets: readonly string[]): Oracle {
  const parsers = new Map<JsonSchema, z.ZodType>();
  function parser(schema: JsonSchema): z.ZodType {
    const known = parsers.get(schema);
    if (known) return known;
    const { schemas } = document.components;
    const resolved = schema.$ref ? schemas[schema.$ref.replace("#/components/schemas/", "")] : schema;
    const made = z.fromJSONSchema(resolved as z.core.JSONSchema.JSONSchema);
    parsers.set(schema, made);
    return made;
  }

  function operationOf({ method, path }: FuzzRequest): ApiOperation | undefined {
    const [bare = ""] = path.split("?");
    const exact = document.paths[bare]?.[method.toLowerCase()];
    if (exact) return exact;
    const template = Object.keys(document.paths).find((known) =>
      new RegExp(`^${known.replaceAll(/\{\w+\}/g, "[^/]+")}$`).test(bare),
    );
    return document.paths[template ?? ""]?.[method.toLowerCase()];
  }

  /** The published schema's word on a body, where a key and a content type let it count. */
  function allows({ headers, body }: FuzzRequest, operation: ApiOperation): boolean | null {
    const schema = operation.requestBody?.content["application/json"]?.schema;
    if (schema === undefined || headers["content-type"] !== "application/json" || typeof body !== "string") return null;
    try {
      return parser(schema).safeParse(JSON.parse(body)).success;
    } catch {
      return false;
    }
  }

  return {
    async check(request, response) {
      const { status } = response;
      const text = await response.text();
      const seen = `${status} ${text.slice(0, 500)}`;
      expect(status, seen).toBeLessThan(500);
      const told = text + JSON.stringify([...response.headers]);
      for (const secret of secrets) expect(told).not.toContain(secret);
      expect(text).not.toMatch(INTERNALS);
      expect(response.headers.get("x-request-id"), seen).toBeTruthy();
      if (request.method === "OPTIONS" || request.method === "HEAD") return status;

      const operation = operationOf(request);
      const [type = ""] = (response.headers.get("content-type") ?? "").split(";");
      if (operation === undefined || !operation.responses[status]) {
        // Not documented: no such address or method, or what is refused before an address is looked at.
        expect([401, 404, 405, 413, 431], seen).toContain(status);
        expect(Object.keys((JSON.parse(text) as { error: object }).error)).toEqual([
          "message",
          "type",
          "param",
          "code",
        ]);
        return status;
      }
      const schema = operation.responses[status].content[type]?.schema;
      if (schema === undefined) throw new Error(`${type} is not documented: ${seen}`);
      for (const value of valuesOf(type, text)) parser(schema).parse(value);
      const allowed = allows(request, operation);
      if (allowed === false) expect([400, 401, 404, 413, 431], seen).toContain(status);
      if (allowed === true && status === 400) {
        const { code, param } = (JSON.parse(text) as { error: { code: string; param: string | null } }).error;
        expect(
          BEYOND_SCHEMA.some((rule) => rule === code || rule === `${code} ${(param ?? "").replaceAll(/\d+/g, "")}`),
          seen,
        ).toBe(true);
      }
      return status;
    },
  };
}

/** What the schema of a media type describes: the whole, or each event. */
function valuesOf(type: string, text: string): unknown[] {
  if (type === "text/event-stream") return eventsOf(text).map((data) => JSON.parse(data) as unknown);
  return [type === "application/json" ? (JSON.parse(text) as unknown) : text];
}

/** The data of every event of a whole stream, without its `[DONE]`. */
function eventsOf(text: string): string[] {
  const frames = text.split("\n\n").filter((frame) => frame !== "" && !frame.startsWith(":"));
  expect(frames.pop()).toBe("data: [DONE]");
  return frames.map((frame) => frame.replace(/^data: /, ""));
}
