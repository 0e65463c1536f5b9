/** The part of the conformance suite that is about traces: an origin goes on the trace that a request names. */
import { describe, expect, it } from "vitest";
import type { Receiver, Span } from "../../scripts/trace/receiver.ts";
import type { GenerationRequest } from "../../src/generation.ts";
import { createOriginClient } from "../../src/origin/client.ts";
import type { OriginUnderTest } from "./origin-harness.ts";

export interface TraceCases {
  readonly origin: OriginUnderTest;
  readonly receiver: Receiver;
  readonly asking: (change: Partial<GenerationRequest>) => GenerationRequest;
}

/** @param get of what the suite has set up */
export function describeTraces(get: () => TraceCases): void {
  const [traceId, spanId] = ["0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"];

  /** Answers a request under a `traceparent`; the spans that come of it. */
  async function spansOf(parent: string | null, request_id: string): Promise<Span[]> {
    const { origin, receiver, asking } = get();
    const client = createOriginClient({ url: origin.url, secret: origin.secret, traceparent: () => parent });
    for await (const _ of await client.generate(asking({ request_id, max_tokens: 4 }), null));
    const whole = (): Span | undefined =>
      receiver.spans.find(({ attributes }) => attributes["sortie.request_id"] === request_id);
    await expect.poll(whole, { timeout: 5_000 }).toBeDefined();
    return receiver.spans.filter((span) => span.traceId === whole()?.traceId);
  }

  describe("traces", () => {
    it("go on the trace of the request, a span each for queue, prefill and decode", async ({ skip }) => {
      if (get().origin.process === null) return skip("the server was not started by this suite");
      const spans = await spansOf(`00-${traceId}-${spanId}-01`, "traced");
      expect(spans.map(({ name }) => name)).toEqual(["generate", "queue", "prefill", "decode"]);
      const [whole, ...phases] = spans;
      expect([whole!.traceId, whole!.parentSpanId]).toEqual([traceId, spanId]);
      expect(whole!.attributes).toMatchObject({ "sortie.tier": "origin", "gen_ai.usage.output_tokens": "4" });
      for (const { traceId: id, parentSpanId, startTimeUnixNano, endTimeUnixNano } of phases) {
        expect([id, parentSpanId]).toEqual([traceId, whole!.spanId]);
        expect(startTimeUnixNano).toBeGreaterThanOrEqual(whole!.startTimeUnixNano);
        expect(endTimeUnixNano).toBeLessThanOrEqual(whole!.endTimeUnixNano);
      }
    });

    it("begin anew where a request names none, or nonsense", async ({ skip }) => {
      if (get().origin.process === null) return skip("the server was not started by this suite");
      for (const [at, parent] of [null, `00-${"0".repeat(32)}-${spanId}-01`, "nonsense"].entries()) {
        const [whole] = await spansOf(parent, `untraced-${at}`);
        expect(whole!.parentSpanId).toBe("");
      }
    });
  });
}
