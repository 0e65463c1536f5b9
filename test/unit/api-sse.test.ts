import { describe, expect, test } from "vitest";
import { dataFrame, eventStream, PING_FRAME } from "../../src/api/sse.ts";

const decode = (value: Uint8Array | undefined) => new TextDecoder().decode(value);
const ignore = () => {};

/** A source that counts how far it was asked. */
function counting(limit: number) {
  const state = { made: 0, ended: false };
  async function* frames(): AsyncGenerator<string, void> {
    try {
      while (state.made < limit) yield dataFrame({ n: ++state.made });
    } finally {
      state.ended = true;
    }
  }
  return { state, frames: frames() };
}

describe("event streams", () => {
  test("a frame is one line, whatever the text", () => {
    expect(dataFrame({ text: "a\nb\r\n\u2028" })).toMatch(/^data: [^\n\r]*\n\n$/);
  });

  test("frames arrive whole and in order, then the body ends", async () => {
    const { frames } = counting(3);
    const text = await new Response(eventStream(frames, { onCancel: ignore })).text();
    expect(text).toBe('data: {"n":1}\n\ndata: {"n":2}\n\ndata: {"n":3}\n\n');
  });

  test("nothing is made ahead of the reader", async () => {
    const { state, frames } = counting(100);
    const reader = eventStream(frames, { onCancel: ignore }).getReader();
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(state.made).toBe(0);
    await reader.read();
    await reader.read();
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(state.made).toBe(2);
  });

  test("a reader that leaves ends the source and is told of", async () => {
    const { state, frames } = counting(100);
    const reasons: unknown[] = [];
    const reader = eventStream(frames, { onCancel: (reason) => reasons.push(reason) }).getReader();
    await reader.read();
    await reader.cancel("gone");
    expect(state).toEqual({ made: 1, ended: true });
    expect(reasons).toEqual(["gone"]);
  });

  test("a reader that leaves while a frame is being made is told of at once", async () => {
    const aborted = new AbortController();
    async function* frames(): AsyncGenerator<string, void> {
      yield "first";
      await new Promise((_, reject) => aborted.signal.addEventListener("abort", () => reject(new Error("stopped"))));
    }
    const stream = eventStream(frames(), { onCancel: () => aborted.abort() });
    const reader = stream.getReader();
    await reader.read();
    const waiting = reader.read();
    await reader.cancel();
    expect(aborted.signal.aborted).toBe(true);
    expect((await waiting).done).toBe(true);
  });

  test("pings fill the silence, and no frame is lost to them", async () => {
    const gate = Promise.withResolvers<void>();
    async function* frames(): AsyncGenerator<string, void> {
      await gate.promise;
      yield "late";
    }
    const reader = eventStream(frames(), { onCancel: ignore, pingIntervalMs: 10 }).getReader();
    expect(decode((await reader.read()).value)).toBe(PING_FRAME);
    expect(decode((await reader.read()).value)).toBe(PING_FRAME);
    gate.resolve();
    const seen: string[] = [];
    for (let read = await reader.read(); !read.done; read = await reader.read()) seen.push(decode(read.value));
    expect(seen.filter((frame) => frame !== PING_FRAME)).toEqual(["late"]);
  });

  test("an error of the source is an error of the body", async () => {
    async function* frames(): AsyncGenerator<string, void> {
      yield "first";
      throw new Error("broken");
    }
    const reader = eventStream(frames(), { onCancel: ignore }).getReader();
    await reader.read();
    await expect(reader.read()).rejects.toThrow("broken");
  });
});
