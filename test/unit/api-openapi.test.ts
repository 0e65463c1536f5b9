/** The published document and the app: each says what the other does. */
import { readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { z } from "zod";
import { ENV, MESSAGES, scriptedApp } from "./api-flow.ts";

beforeAll(() => void vi.spyOn(console, "info").mockImplementation(() => {}));
afterAll(() => vi.restoreAllMocks());

interface Operation {
  operationId: string;
  security: object[];
  responses: Record<string, { content: Record<string, { schema: { $ref: string } }> }>;
}
interface Document {
  openapi: string;
  info: { version: string };
  paths: Record<string, Record<string, Operation>>;
  components: { schemas: Record<string, z.core.JSONSchema.JSONSchema> };
}

const { app, send } = scriptedApp();
const response = await app.request("/openapi.json", {}, ENV);
const document = (await response.json()) as Document;
const operations = Object.entries(document.paths).flatMap(([path, methods]) =>
  Object.entries(methods).map(([method, operation]) => ({ path, method, operation })),
);

/** What an operation says of a status and a media type, as a schema that can parse. */
function schemaOf(path: string, method: string, status: number, type = "application/json"): z.ZodType {
  const reference = document.paths[path]?.[method]?.responses[status]?.content[type]?.schema.$ref;
  const schema = document.components.schemas[reference?.replace("#/components/schemas/", "") ?? ""];
  if (schema === undefined) throw new Error(`${method} ${path}: no schema for ${status} ${type}`);
  return z.fromJSONSchema(schema);
}

describe("the document", () => {
  test("is OpenAPI 3.1 of this version, open to everyone", () => {
    expect(response.status).toBe(200);
    expect(document.openapi).toBe("3.1.0");
    expect(document.info.version).toBe(JSON.parse(readFileSync("package.json", "utf8")).version);
  });

  test("lists every route of the app, and no other", () => {
    const documented = operations.map(({ path, method }) => `${method.toUpperCase()} ${path}`);
    const routed = app.routes
      .filter(({ method }) => method !== "ALL") // middleware
      .map(({ method, path }) => `${method} ${path.replace(/:(\w+)/g, "{$1}")}`);
    expect(documented.toSorted()).toEqual([...new Set(routed)].toSorted());
  });

  test("refers only to schemas it has, and has none that nothing refers to", () => {
    const text = JSON.stringify(document);
    const referred = [...text.matchAll(/#\/components\/schemas\/(\w+)/g)].map(([, name]) => name);
    expect(new Set(referred)).toEqual(new Set(Object.keys(document.components.schemas)));
  });

  test("says who may ask: without a key only what is open", async () => {
    for (const { path, method, operation } of operations) {
      const asked = await app.request(path.replace("{id}", "tiny"), { method: method.toUpperCase() }, ENV);
      const open = operation.security.length === 0;
      expect([`${method} ${path}`, asked.status === 401]).toEqual([`${method} ${path}`, !open]);
      if (!open) schemaOf(path, method, 401).parse(await asked.json());
    }
  });

  test("names unsupported parameters, and what of them is accepted", () => {
    const { properties } = document.components.schemas["ChatCompletionRequest"] as {
      properties: Record<string, { anyOf: unknown[] }>;
    };
    expect(properties["tool_choice"]?.anyOf).toEqual([{ type: "string", enum: ["none", "auto"] }, { type: "null" }]);
    expect(properties["moderation"]?.anyOf).toEqual([{ not: {} }, { type: "null" }]);
  });
});

describe("answers are as documented", () => {
  const chat = { model: "tiny", messages: MESSAGES };
  const text = { model: "tiny", prompt: "Once upon a time" };
  const chatLogprobs = { ...chat, logprobs: true, top_logprobs: 1 };
  test.each([
    ["/v1/chat/completions", chat],
    ["/v1/chat/completions", chatLogprobs],
    ["/v1/completions", text],
    ["/v1/completions", { ...text, logprobs: 1 }],
  ])("%s %#, whole and streamed", async (path, json) => {
    schemaOf(path, "post", 200).parse(await (await send(path, { json })).json());
    const stream_options = { include_usage: true, include_sortie: true };
    const streamed = await (await send(path, { json: { ...json, stream: true, stream_options } })).text();
    const frames = streamed.split("\n\n").slice(0, -2); // without [DONE]
    expect(frames.length).toBeGreaterThan(3);
    const chunk = schemaOf(path, "post", 200, "text/event-stream");
    for (const frame of frames) chunk.parse(JSON.parse(frame.slice("data: ".length)));
  });

  test.each([
    ["/v1/models", "/v1/models"],
    ["/v1/models/{id}", "/v1/models/tiny"],
    ["/healthz", "/healthz"],
  ])("%s", async (path, address) => {
    schemaOf(path, "get", 200).parse(await (await send(address)).json());
  });

  test.each([
    ["/v1/chat/completions", "post", 400, { ...chat, n: 0 }],
    ["/v1/completions", "post", 400, { ...text, prompt: [] }],
  ])("%s %s: %i", async (path, method, status, json) => {
    const refused = await send(path, { json });
    expect(refused.status).toBe(status);
    schemaOf(path, method, status).parse(await refused.json());
  });
});
