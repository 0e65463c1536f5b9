import { expect, test } from "vitest";
import { startReceiver, type Span } from "../../scripts/trace/receiver.ts";
import { drawn, faults, spansOf } from "../../scripts/trace/tree.ts";
import { exportSpans } from "../../src/telemetry/otlp.ts";

const TRACE = "a".repeat(32);
const id = (at: number): string => String(at).padStart(16, "0");
/** Names with their parents' places in the list. */
const NAMES: readonly (readonly [name: string, parent: number | null])[] = [
  ["POST /v1/chat/completions", null],
  ["authenticate", 0],
  ["chat tiny", 0],
  ["reserve", 2],
  ["gate.prompt", 2],
  ["edge", 2],
  ["prefill", 5],
  ["origin", 2],
  ["handoff", 7],
  ["generate", 7],
  ["decode", 9],
];
const span = ([name, parent]: readonly [string, number | null], at: number): Span => ({
  traceId: TRACE,
  spanId: id(at + 1),
  parentSpanId: parent === null ? "" : id(parent + 1),
  name,
  startTimeUnixNano: at,
  endTimeUnixNano: at + 1,
  attributes: name === "chat tiny" ? { "sortie.request_id": "r1" } : {},
  service: name === "generate" ? "sortie-origin" : "sortie-worker",
});
const WHOLE = NAMES.map(span);
const without = (name: string) => WHOLE.filter((each) => each.name !== name);

test("one tree has no faults, and is drawn from its root", () => {
  expect(faults(WHOLE)).toEqual([]);
  expect(spansOf([...WHOLE, { ...WHOLE[0]!, traceId: "b".repeat(32) }], "r1")).toEqual(WHOLE);
  expect(spansOf(WHOLE, "r2")).toEqual([]);
  expect(drawn(WHOLE).split("\n").slice(-2)).toEqual([
    "      generate (sortie-origin, 1 ms)",
    "        decode (sortie-worker, 1 ms)",
  ]);
});

test.each([
  ["nothing came", [], "roots: none"],
  ["the origin began a tree of its own", without("origin"), "roots: POST /v1/chat/completions, handoff, generate"],
  ["the origin sent nothing", without("generate"), "only of sortie-worker"],
  ["no gate", without("gate.prompt"), "no span gate.prompt"],
  [
    "the handoff lies elsewhere",
    WHOLE.map((each) => (each.name === "handoff" ? { ...each, parentSpanId: id(6) } : each)),
    "handoff lies in edge",
  ],
])("%s: %#", (_, tree, fault) => expect(faults(tree)).toContain(fault));

test("the receiver keeps what the exporter sends, and refuses what is no OTLP", async () => {
  const receiver = await startReceiver();
  try {
    const sent = { kind: "server", start: 1_000, end: 1_250, attributes: { a: 1, b: "two" }, error: null } as const;
    await exportSpans(receiver.url, "acme", [
      { ...sent, traceId: TRACE, spanId: id(1), parentSpanId: null, name: "x" },
    ]);
    expect(receiver.spans).toMatchObject([
      {
        service: "acme",
        name: "x",
        startTimeUnixNano: 1_000,
        endTimeUnixNano: 1_250,
        attributes: { a: "1", b: "two" },
      },
    ]);
    const bad = [{ ...sent, traceId: "short", spanId: id(1), parentSpanId: null, name: "x" }];
    await expect(exportSpans(receiver.url, "acme", bad)).rejects.toThrow("400");
    expect(receiver.refused).toHaveLength(1);
  } finally {
    receiver.stop();
  }
});
