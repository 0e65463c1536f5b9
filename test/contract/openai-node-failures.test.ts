/** What the official `openai` npm SDK makes of failures: its typed errors, and when it asks again. */
import OpenAI from "openai";
import { afterAll, beforeAll, describe, expect, test, vi } from "vitest";
import { KEY } from "../unit/api-flow.ts";
import { RETRY_AFTER_SECONDS, startFailingServer, type FailingServer } from "./support/failing-server.ts";

let server: FailingServer;
let client: OpenAI;
/** Milliseconds at which each request of the running test was sent. */
const sent: number[] = [];

beforeAll(async () => {
  for (const level of ["info", "error"] as const) vi.spyOn(console, level).mockImplementation(() => {});
  server = await startFailingServer();
  const counting: typeof fetch = (input, init) => {
    sent.push(performance.now());
    return fetch(input, init);
  };
  client = new OpenAI({ baseURL: `${server.url}/v1`, apiKey: KEY, fetch: counting });
});
afterAll(async () => {
  await server?.stop();
  vi.restoreAllMocks();
});

const ask = (model: string) =>
  client.chat.completions.create({ model, messages: [{ role: "user", content: "What is the capital of France?" }] });

async function failureOf(model: string) {
  sent.length = 0;
  const error: unknown = await ask(model).then(
    () => null,
    (thrown: unknown) => thrown,
  );
  if (!(error instanceof OpenAI.APIError)) throw new Error("no error of the API");
  return error;
}

describe("typed errors", () => {
  test("403", async () => {
    const error = await failureOf("forbidden");
    expect(error).toBeInstanceOf(OpenAI.PermissionDeniedError);
    expect(error).toMatchObject({ status: 403, code: "model_forbidden", param: null, type: "permission_error" });
    expect(sent).toHaveLength(1);
  });

  test("a spent budget: not asked again", async () => {
    const error = await failureOf("spent");
    expect(error).toBeInstanceOf(OpenAI.RateLimitError);
    expect(error).toMatchObject({ status: 429, code: "insufficient_quota", type: "insufficient_quota" });
    expect(sent).toHaveLength(1);
  });

  test.each([
    ["broken", 500, "internal_error"],
    ["bad-gateway", 502, "origin_failed"],
    ["unavailable", 503, "code_503"],
    ["slow", 504, "origin_timeout"],
  ])("%s: %i, asked twice again, told dully", async (model, status, code) => {
    const error = await failureOf(model);
    expect(error).toBeInstanceOf(OpenAI.InternalServerError);
    expect(error).toMatchObject({ status, code, type: "server_error" });
    expect(error.message).toContain(`Request id: ${error.requestID}`);
    expect(error.message).not.toContain("no client sees");
    expect(sent).toHaveLength(3);
  });
});

test.each(["busy-429-node", "busy-503-node"])("%s: asked again after the seconds of retry-after", async (model) => {
  sent.length = 0;
  expect((await ask(model)).choices[0]?.message.content).toBe("Paris");
  expect(sent).toHaveLength(2);
  expect((sent[1] ?? 0) - (sent[0] ?? 0)).toBeGreaterThanOrEqual(RETRY_AFTER_SECONDS * 1000 - 1);
});

describe("an answer that breaks off", () => {
  test("in its stream: what came before is there, then a typed error, and it is not asked again", async () => {
    sent.length = 0;
    const messages = [{ role: "user" as const, content: "x" }];
    const stream = await client.chat.completions.create({ model: "breaks-off", messages, stream: true });
    let text = "";
    const reading = (async () => {
      for await (const chunk of stream) text += chunk.choices[0]?.delta.content ?? "";
    })();
    const error: unknown = await reading.catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(OpenAI.APIError);
    expect(error).toMatchObject({ code: "origin_failed", type: "server_error" });
    expect(text).toBe("Paris");
    expect(sent).toHaveLength(1);
  });

  test("of a text completion too", async () => {
    const stream = await client.completions.create({ model: "breaks-off", prompt: "x", stream: true });
    await expect(Array.fromAsync(stream)).rejects.toMatchObject({ code: "origin_failed" });
  });
});
