import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import type { TextEvent } from "../../src/conversation.ts";
import { ApiError } from "../../src/errors.ts";
import { OriginError } from "../../src/origin/origin-error.ts";
import { ENV, KEY, MESSAGES, piece, scriptedApp, token } from "./api-flow.ts";

const CHAT = "/v1/chat/completions";
const chatBody = { model: "tiny", messages: MESSAGES };

/** Everything logged by a test. */
const lines: string[] = [];
beforeEach(() => {
  lines.length = 0;
  for (const level of ["info", "warn", "error"] as const) {
    vi.spyOn(console, level).mockImplementation((line: string) => void lines.push(line));
  }
});
afterEach(() => vi.restoreAllMocks());

async function errorOf(response: Response) {
  const body = (await response.json()) as { error: Record<string, unknown> };
  expect(Object.keys(body)).toEqual(["error"]);
  expect(Object.keys(body.error)).toEqual(["message", "type", "param", "code"]);
  expect(response.headers.get("content-type")).toMatch(/^application\/json/);
  return body.error;
}

describe("who may ask", () => {
  test.each([
    ["no key", {}],
    ["a wrong key", { authorization: "Bearer sk-sortie-demo-locaX" }],
    ["half a key", { authorization: `Bearer ${KEY.slice(0, -1)}` }],
    ["a key that begins right", { authorization: `Bearer ${KEY}x` }],
    ["another scheme", { authorization: `Basic ${KEY}` }],
    ["two keys", { authorization: `Bearer ${KEY} ${KEY}` }],
  ])("%s: 401, before the body is looked at", async (_, headers) => {
    const { app, asked } = scriptedApp();
    const response = await app.request(CHAT, { method: "POST", body: "{broken", headers }, ENV);
    expect(response.status).toBe(401);
    const error = await errorOf(response);
    expect(error).toMatchObject({ type: "invalid_request_error", code: "invalid_api_key" });
    expect(JSON.stringify([error, lines])).not.toContain(KEY.slice(0, -2));
    expect(asked).toEqual([]);
  });

  test("the scheme's case and a space more do not matter", async () => {
    const { send } = scriptedApp();
    expect((await send("/v1/models", { headers: { authorization: `bearer  ${KEY} ` } })).status).toBe(200);
  });

  test("a server whose settings are wrong says so in its log alone", async () => {
    const { app } = scriptedApp();
    const broken = { ...ENV, EDGE_EXITS: "none" } as never;
    const response = await app.request("/v1/models", { headers: { origin: "https://app.example" } }, broken);
    expect(response.status).toBe(500);
    expect((await errorOf(response))["message"]).not.toContain("EDGE_EXITS");
    expect(lines.join()).toContain("EDGE_EXITS");
  });
});

describe("requests that reach no answer", () => {
  test.each<[string, RequestInit & { json?: unknown }, number, string | null]>([
    ["bad JSON", { method: "POST", body: "{", headers: { "content-type": "application/json" } }, 400, null],
    [
      "plain text",
      { method: "POST", body: "{}", headers: { "content-type": "text/plain" } },
      415,
      "unsupported_content_type",
    ],
    ["a bad field", { json: { ...chatBody, max_tokens: -1 } }, 400, "integer_below_min_value"],
    ["a body over the limit", { json: { ...chatBody, user: "x".repeat(1024 * 1024) } }, 413, "body_too_large"],
    ["headers over the limit", { json: chatBody, headers: { "x-big": "x".repeat(17_000) } }, 431, "headers_too_large"],
    ["the wrong method", { method: "DELETE" }, 405, "method_not_allowed"],
  ])("%s", async (_, init, status, code) => {
    const { send, asked } = scriptedApp();
    const response = await send(CHAT, init);
    expect(response.status).toBe(status);
    expect(await errorOf(response)).toMatchObject({ type: "invalid_request_error", code });
    expect(asked).toEqual([]);
  });

  test("a body without a length is bounded too", async () => {
    const chunk = new Uint8Array(100_000).fill(0x20);
    let sent = 0;
    const body = new ReadableStream({
      pull(controller) {
        sent += chunk.length;
        controller.enqueue(chunk);
      },
    });
    const { send } = scriptedApp();
    const init = { method: "POST", body, duplex: "half", headers: { "content-type": "application/json" } };
    expect((await send(CHAT, init as RequestInit)).status).toBe(413);
    expect(sent).toBeLessThan(1_400_000);
  });

  test("405 names the methods that are allowed", async () => {
    const { send } = scriptedApp();
    expect((await send(CHAT, { method: "PUT" })).headers.get("allow")).toBe("POST");
    expect((await send("/v1/models/tiny", { method: "POST" })).headers.get("allow")).toBe("GET, HEAD");
  });

  test("an unknown address: 404", async () => {
    const { send } = scriptedApp();
    const response = await send("/v1/nothing");
    expect(response.status).toBe(404);
    expect((await errorOf(response))["message"]).toContain("GET /v1/nothing");
  });

  test("what the flow refuses is told as it is", async () => {
    const refusal = new ApiError("try later", {
      status: 503,
      type: "server_error",
      code: "model_unavailable",
      headers: { "retry-after": "5" },
      cause: new Error("the secret reason"),
    });
    const response = await scriptedApp({ refusal }).send(CHAT, { json: chatBody });
    expect(response.status).toBe(503);
    expect(response.headers.get("retry-after")).toBe("5");
    expect(await errorOf(response)).toEqual({
      message: `try later Request id: ${response.headers.get("x-request-id")}.`,
      type: "server_error",
      param: null,
      code: "model_unavailable",
    });
    expect(lines.join()).toContain("the secret reason");
  });

  test.each([
    ["interrupted", 502, "origin_failed"],
    ["malformed", 502, "origin_failed"],
    ["timeout", 504, "origin_timeout"],
  ] as const)("an origin's %s in mid-answer: %i, whole or streamed", async (kind, status, code) => {
    async function* broken(): AsyncGenerator<TextEvent, void> {
      yield piece(token("Par"));
      throw new OriginError(kind, "10.0.0.1 said things");
    }
    const { send } = scriptedApp({ events: broken });
    const response = await send(CHAT, { json: chatBody });
    expect(response.status).toBe(status);
    const error = await errorOf(response);
    expect(error).toMatchObject({ type: "server_error", code, param: null });
    expect(error["message"]).toContain(response.headers.get("x-request-id"));
    const streamed = await (await send(CHAT, { json: { ...chatBody, stream: true } })).text();
    expect(streamed).toMatch(new RegExp(`data: {"error":{[^\n]*"code":"${code}"}}\n\n$`));
    expect(JSON.stringify(error) + streamed).not.toContain("10.0.0.1");
    expect(lines.join()).toContain("10.0.0.1 said things");
  });

  test("what nobody expected is told dully, with the request id, and logged richly", async () => {
    const refusal = new Error("database password is hunter2", { cause: new Error("deep reason") });
    const response = await scriptedApp({ refusal }).send(CHAT, {
      json: chatBody,
      headers: { "x-request-id": "abc-1" },
    });
    expect(response.status).toBe(500);
    const error = await errorOf(response);
    expect(error).toMatchObject({ type: "server_error", code: "internal_error" });
    expect(error["message"]).toContain("abc-1");
    expect(error["message"]).not.toContain("hunter2");
    const logged = JSON.parse(lines.find((line) => line.includes("request.failed")) ?? "{}");
    expect(logged).toMatchObject({ level: "error", request_id: "abc-1", status: 500 });
    expect(logged.error).toContain("hunter2");
    expect(logged.error).toContain("deep reason");
  });
});

describe("headers", () => {
  test("a sane request id is kept, any other replaced", async () => {
    const { send } = scriptedApp();
    const sentBack = async (id: string) =>
      (await send("/v1/models", { headers: { "x-request-id": id } })).headers.get("x-request-id");
    expect(await sentBack("req_42-a")).toBe("req_42-a");
    expect(await sentBack("a b")).toMatch(/^[0-9a-f-]{36}$/);
    expect(await sentBack("x".repeat(129))).toMatch(/^[0-9a-f-]{36}$/);
  });

  test("answers and refusals alike carry them", async () => {
    const { send, app } = scriptedApp();
    const refused = await app.request("/v1/models", {}, ENV);
    for (const response of [await send("/v1/models"), refused, await send("/nowhere"), await send(CHAT)]) {
      expect(response.headers.get("x-request-id")).toBeTruthy();
      expect(response.headers.get("openai-processing-ms")).toMatch(/^\d+$/);
      expect(response.headers.get("x-content-type-options")).toBe("nosniff");
      expect(response.headers.get("content-security-policy")).toContain("default-src 'none'");
    }
  });

  test("CORS: configured origins only, refusals too, preflight without a key", async () => {
    const { app } = scriptedApp();
    const ask = (origin: string, method = "GET") => app.request("/v1/models", { method, headers: { origin } }, ENV);
    const allowed = await ask("https://app.example");
    expect(allowed.status).toBe(401);
    expect(allowed.headers.get("access-control-allow-origin")).toBe("https://app.example");
    expect(allowed.headers.get("access-control-expose-headers")).toContain("x-sortie-exit");
    expect((await ask("https://evil.example")).headers.get("access-control-allow-origin")).toBeNull();
    const preflight = await ask("https://app.example", "OPTIONS");
    expect(preflight.status).toBe(204);
    expect(preflight.headers.get("access-control-allow-methods")).toBe("GET,POST");
  });
});

describe("models", () => {
  test("the router's names and one a exit", async () => {
    const list = (await (await scriptedApp().send("/v1/models")).json()) as { object: string; data: { id: string }[] };
    expect(list.object).toBe("list");
    const ids = ["tiny", "tiny:auto", "tiny:exit-3", "tiny:exit-6", "tiny:exit-9", "tiny:exit-12"];
    expect(list.data.map(({ id }) => id)).toEqual(ids);
    expect(list.data[0]).toMatchObject({ object: "model", created: expect.any(Number), owned_by: "sortie" });
  });

  test.each(["tiny:exit-6", "tiny%3Aexit-6"])("one of them: %s", async (id) => {
    expect(await (await scriptedApp().send(`/v1/models/${id}`)).json()).toMatchObject({ id: "tiny:exit-6" });
  });

  test("an unknown one: 404 model_not_found", async () => {
    const response = await scriptedApp().send("/v1/models/tiny:exit-5");
    expect(response.status).toBe(404);
    expect(await errorOf(response)).toMatchObject({ code: "model_not_found", param: "model" });
  });
});

describe("health", () => {
  const info = (fingerprint: string) => ({ info: async () => ({ fingerprint }) }) as never;
  const down = {
    info: () => Promise.reject(new Error("refused")),
    status: () => Promise.reject(new Error("no")),
  } as never;
  const ask = async (deps: object) => {
    const { app } = scriptedApp({ deps });
    const response = await app.request("/healthz", {}, ENV);
    return { status: response.status, ...((await response.json()) as { edge: unknown; origin: string }) };
  };

  test("open to everyone, names the model and its tiers", async () => {
    const response = await scriptedApp().app.request("/healthz", {}, ENV);
    expect(await response.json()).toEqual({
      status: "ok",
      model: "tiny",
      fingerprint: "0123456789abcdef",
      numerics: "w8a8",
      exits: [3, 6, 9, 12],
      edge_exits: [3, 6],
      calibrated: false,
      edge: { loaded: true, active: 0, waiting: 0, decoded_tokens: 0 },
      origin: "absent",
    });
  });

  test.each([
    ["reachable", { origin: info("0123456789abcdef") }],
    ["foreign", { origin: info("ffffffffffffffff") }],
    ["unreachable", { origin: down }],
  ])("origin %s", async (origin, deps) => {
    expect(await ask(deps)).toMatchObject({ origin });
  });

  test("503 only when no tier can answer", async () => {
    expect(await ask({ edge: down, origin: info("0123456789abcdef") })).toMatchObject({ edge: "unreachable" });
    const app = scriptedApp({ deps: { edge: down, origin: down } }).app;
    expect((await app.request("/healthz", {}, ENV)).status).toBe(503);
  });
});
