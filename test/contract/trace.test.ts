/** One escalated request, traced over OTLP: one tree across Worker, objects and origin. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { startReceiver, type Receiver } from "../../scripts/trace/receiver.ts";
import { ESCALATED_PROMPT, faults, spansOf } from "../../scripts/trace/tree.ts";
import { DEMO_KEY, startServer, until, type RunningServer } from "./support/server.ts";

/** Spans leave when an invocation ends, the last of them after the answer. */
const EXPORT_TIMEOUT_MS = 20_000;

let receiver: Receiver;
let server: RunningServer;
beforeAll(async () => {
  receiver = await startReceiver();
  server = await startServer({}, ["--otlp", receiver.url]);
});
afterAll(async () => {
  await server?.stop();
  receiver?.stop();
});

test("an escalated request is one tree, and says what was asked, but not its words", async () => {
  const response = await fetch(`${server.url}/v1/chat/completions`, {
    method: "POST",
    headers: { authorization: `Bearer ${DEMO_KEY}`, "content-type": "application/json" },
    body: JSON.stringify({ model: "tiny", temperature: 0, messages: [{ role: "user", content: ESCALATED_PROMPT }] }),
  });
  expect(response.headers.get("x-sortie-tier")).toBe("origin");
  await response.text();
  const requestId = response.headers.get("x-request-id") ?? "";
  const tree = () => spansOf(receiver.spans, requestId);
  await until(EXPORT_TIMEOUT_MS, "", () => faults(tree()).length === 0 || undefined).catch(() => undefined);
  expect(faults(tree())).toEqual([]);
  expect(receiver.refused).toEqual([]);
  const { trace_id: traceId } = await server.logged("chat.completed", requestId);
  expect(new Set(tree().map((span) => span.traceId))).toEqual(new Set([traceId]));
  expect(new Set(tree().map(({ service }) => service))).toEqual(new Set(["sortie-worker", "sortie-origin"]));
  const chat = tree().find(({ name }) => name === "chat tiny");
  expect(chat?.attributes).toMatchObject({
    "gen_ai.operation.name": "chat",
    "gen_ai.response.model": "tiny",
    "sortie.tier": "origin",
    "sortie.request_id": requestId,
  });
  expect(Number(chat?.attributes["gen_ai.usage.input_tokens"])).toBeGreaterThan(10);
  expect(JSON.stringify(tree())).not.toContain("points to");
});
