/** One escalated request, traced over OTLP: one tree across Worker, objects and origin. The receiver speaks OTLP/HTTP JSON. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { attributesOf, type OtlpReceiver, type Span, startOtlpReceiver } from "./support/otlp-receiver.ts";
import { DEMO_KEY, startServer, until, type RunningServer } from "./support/server.ts";

const PROMPT = "Start with 9, add 7, subtract 3, add 8, subtract 5, then add 4. What is the result?";
/** Spans leave when an invocation ends, the last of them after the answer. */
const EXPORT_TIMEOUT_MS = 20_000;

let receiver: OtlpReceiver;
let server: RunningServer;
beforeAll(async () => {
  receiver = await startOtlpReceiver();
  server = await startServer({}, ["--otlp", receiver.url]);
});
afterAll(async () => {
  await server?.stop();
  receiver?.close();
});

test("an escalated request is one tree, and says what was asked, but not its words", async () => {
  const response = await fetch(`${server.url}/v1/chat/completions`, {
    method: "POST",
    headers: { authorization: `Bearer ${DEMO_KEY}`, "content-type": "application/json" },
    body: JSON.stringify({ model: "tiny", temperature: 0, messages: [{ role: "user", content: PROMPT }] }),
  });
  expect(response.headers.get("x-sortie-tier")).toBe("origin");
  await response.text();
  const requestId = response.headers.get("x-request-id") ?? "";
  const entry = await server.logged("chat.completed", requestId);
  const ofTrace = (): Span[] => receiver.spans.filter(({ traceId }) => traceId === entry["trace_id"]);
  await until(
    EXPORT_TIMEOUT_MS,
    "the spans did not come",
    () =>
      ["POST /v1/chat/completions", "generate"].every((name) => ofTrace().some((span) => span.name === name)) ||
      undefined,
  );
  const tree = ofTrace();
  const byId = new Map(tree.map((span) => [span.spanId, span]));
  const roots = tree.filter(({ parentSpanId }) => parentSpanId === undefined || !byId.has(parentSpanId));
  expect(roots.map(({ name }) => name)).toEqual(["POST /v1/chat/completions"]);
  const parentOf = (name: string): string | undefined => {
    const span = tree.find((each) => each.name === name);
    return byId.get(span?.parentSpanId ?? "")?.name;
  };
  expect(parentOf("generate")).toMatch(/^(origin|fetch)$/);
  expect(parentOf("origin")).toBe("chat tiny");
  expect(parentOf("edge")).toBe("chat tiny");
  expect(parentOf("handoff")).toBe("origin");
  expect(tree.map(({ name }) => name)).toEqual(
    expect.arrayContaining([
      "authenticate",
      "reserve",
      "gate.prompt",
      "edge",
      "prefill",
      "handoff",
      "origin",
      "generate",
      "decode",
    ]),
  );
  const attributes = attributesOf(tree.find(({ name }) => name === "chat tiny")!);
  expect(attributes).toMatchObject({
    "gen_ai.operation.name": "chat",
    "gen_ai.response.model": "tiny",
    "sortie.tier": "origin",
    "sortie.request_id": requestId,
  });
  expect(Number(attributes["gen_ai.usage.input_tokens"])).toBeGreaterThan(10);
  expect(JSON.stringify(tree)).not.toContain("subtract");
});
