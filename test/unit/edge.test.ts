/** The edge's pieces without workerd: admission, frames, and a job that computes only what is read. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Admission } from "../../src/edge/admission.ts";
import { shardOf } from "../../src/edge/client.ts";
import { decodeJsonFrame, encodeFrame, encodeJsonFrame, readFrames } from "../../src/edge/frames.ts";
import type { EdgeJob } from "../../src/edge/job.ts";
import { runJob } from "../../src/edge/run-job.ts";
import { loadEngine } from "../../src/model/engine.ts";
import { decodeHandoff } from "../../src/origin/handoff-codec.ts";
import { KV_WIDTH, mockModel, VOCABULARY, WIDTH } from "./model-mock.ts";

const never = new AbortController().signal;

describe("admission", () => {
  test("so many at once, so many waiting, the rest are told at once", async () => {
    const admission = new Admission(2, 1);
    const first = await admission.enter(never);
    const second = await admission.enter(never);
    const third = admission.enter(never);
    expect(await admission.enter(never)).toBeNull();
    expect([admission.active, admission.waiting]).toEqual([2, 1]);
    first?.();
    first?.(); // giving a place back twice gives one place back
    const held = await third;
    expect([admission.active, admission.waiting]).toEqual([2, 0]);
    second?.();
    held?.();
    expect([admission.active, admission.waiting]).toEqual([0, 0]);
  });

  test("who stops waiting leaves the queue", async () => {
    const admission = new Admission(1, 1);
    const release = await admission.enter(never);
    const leaving = new AbortController();
    const waiting = admission.enter(leaving.signal);
    leaving.abort(new Error("gone"));
    await expect(waiting).rejects.toThrow("gone");
    expect(admission.waiting).toBe(0);
    release?.();
    expect(admission.active).toBe(0);
  });

  test("places are never lost or made, whatever the order", async () => {
    await fc.assert(
      fc.asyncProperty(fc.array(fc.nat(9), { maxLength: 60 }), async (moves) => {
        const admission = new Admission(2, 2);
        const held: (() => void)[] = [];
        const waiting: { stop: AbortController; done: Promise<void> }[] = [];
        for (const move of moves) {
          if (move < 6) {
            const stop = new AbortController();
            const done = admission.enter(stop.signal).then(
              (release) => void (release && held.push(release)),
              () => undefined,
            );
            waiting.push({ stop, done });
          } else if (move < 9) held.shift()?.();
          else waiting.shift()?.stop.abort(new Error("gone"));
          await new Promise((resolve) => setImmediate(resolve));
          expect(admission.active).toBe(held.length);
          expect(admission.active).toBeLessThanOrEqual(2);
          expect(admission.waiting).toBeLessThanOrEqual(2);
        }
      }),
      { numRuns: 50 },
    );
  });
});

describe("frames", () => {
  const streamOf = (chunks: readonly Uint8Array[]): ReadableStream<Uint8Array> =>
    new ReadableStream({
      start(controller) {
        for (const chunk of chunks) controller.enqueue(chunk);
        controller.close();
      },
    });

  test("arrive whole however the bytes are cut", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.record({ kind: fc.integer({ min: 1, max: 2 }), payload: fc.uint8Array({ maxLength: 40 }) })),
        fc.integer({ min: 1, max: 17 }),
        async (frames, cut) => {
          const bytes = Buffer.concat(frames.map(({ kind, payload }) => encodeFrame(kind, payload)));
          const chunks: Uint8Array[] = [];
          for (let at = 0; at < bytes.length; at += cut) chunks.push(bytes.subarray(at, at + cut));
          const read = await Array.fromAsync(readFrames(streamOf(chunks)));
          expect(read.map(({ kind, payload }) => [kind, [...payload]])).toEqual(
            frames.map(({ kind, payload }) => [kind, [...payload]]),
          );
        },
      ),
    );
  });

  test("a stream that ends inside a frame, or claims gigabytes, is refused", async () => {
    const frame = encodeJsonFrame({ type: "token" });
    await expect(Array.fromAsync(readFrames(streamOf([frame.subarray(0, 7)])))).rejects.toThrow("inside a frame");
    const huge = new Uint8Array([255, 255, 255, 255, 1]);
    await expect(Array.fromAsync(readFrames(streamOf([huge])))).rejects.toThrow("exceeds");
  });
});

describe("a job", () => {
  const PROMPT = [1, 2, 3, 4, 5];
  const job = (over: Partial<EdgeJob["request"]> = {}, gate: EdgeJob["prefill_gate"] = null): EdgeJob => ({
    request: {
      request_id: "r",
      token_ids: PROMPT,
      answer_tokens: 0,
      exit_layer: 1,
      max_tokens: 40,
      sampling: {
        temperature: 0,
        top_p: 1,
        top_k: 0,
        min_p: 0,
        repetition_penalty: 1,
        presence_penalty: 0,
        frequency_penalty: 0,
        seed: 1,
      },
      top_logprobs: 0,
      stop_token_ids: [],
      ...over,
    },
    prefill_gate: gate,
  });

  async function run(edgeJob: EdgeJob) {
    const { bundle, source, runtime } = mockModel();
    const engine = await loadEngine({ bundle, source, runtime });
    const counts = { tokens: 0, ended: 0 };
    const stream = runJob(engine, edgeJob, never, {
      onToken: () => void (counts.tokens += 1),
      onEnd: () => void (counts.ended += 1),
    });
    return { bundle, counts, stream };
  }

  test.each([0, 1, 7])("computes nothing that is not read: %i frames, then cancelled", async (read) => {
    const { counts, stream } = await run(job());
    const reader = stream.getReader();
    for (let i = 0; i < read; i++) await reader.read();
    await reader.cancel();
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(counts.tokens).toBeLessThanOrEqual(read + 1);
    expect(counts.ended).toBe(1);
  });

  test("ends by itself with usage", async () => {
    const { counts, stream } = await run(job({ max_tokens: 3 }));
    const events = (await Array.fromAsync(readFrames(stream))).map(decodeJsonFrame);
    expect(events).toHaveLength(4);
    expect(events.at(-1)).toMatchObject({ type: "end", finish_reason: "length" });
    expect(counts).toEqual({ tokens: 3, ended: 1 });
  });

  const gate = (threshold: number): EdgeJob["prefill_gate"] => ({
    prompt_score: 0.5,
    weights: [0, 0, 0, 0],
    bias: 0, // every score is 0.5
    threshold,
    escalate_to: 4,
  });

  test("a hard verdict comes before any token, with the state to resume from", async () => {
    const { bundle, counts, stream } = await run(job({}, gate(0.6)));
    const frames = await Array.fromAsync(readFrames(stream));
    expect(frames).toHaveLength(2);
    expect(decodeJsonFrame(frames[0]!)).toMatchObject({ type: "verdict", handoff: true });
    const { handoff, request } = decodeHandoff(frames[1]!.payload, {
      fingerprint: bundle.fingerprint,
      numerics: ["fp32"],
      exits: bundle.exits,
      hiddenSize: WIDTH,
      kvSize: KV_WIDTH,
      vocabSize: VOCABULARY,
    });
    expect(handoff).toMatchObject({ exitLayer: 1, positions: PROMPT.length });
    expect(request).toMatchObject({ exit_layer: 4, token_ids: PROMPT });
    expect(counts).toEqual({ tokens: 0, ended: 1 });
  });

  test("an easy verdict is said and the answer follows", async () => {
    const { stream } = await run(job({ max_tokens: 2 }, gate(0.4)));
    const events = (await Array.fromAsync(readFrames(stream))).map(decodeJsonFrame) as { type: string }[];
    expect(events.map(({ type }) => type)).toEqual(["verdict", "token", "token", "end"]);
  });

  test("a failure of the engine is an event, not a silent end", async () => {
    const { stream } = await run(job({ exit_layer: 2 }));
    const events = (await Array.fromAsync(readFrames(stream))).map(decodeJsonFrame);
    expect(events).toEqual([expect.objectContaining({ type: "failure" })]);
  });
});

test("the same beginning reaches the same shard, different ones spread", () => {
  const long = Array.from({ length: 80 }, (_, i) => i);
  expect(shardOf([...long, 1], 8)).toBe(shardOf([...long, 2], 8));
  const shards = new Set(Array.from({ length: 200 }, (_, i) => shardOf([i, 7, 9], 8)));
  expect(shards.size).toBe(8);
});
