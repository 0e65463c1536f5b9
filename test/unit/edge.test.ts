/** The edge's pieces without workerd: admission, frames, and a job that computes only what is read. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Admission } from "../../src/edge/admission.ts";
import { bundleSource } from "../../src/edge/bundle-source.ts";
import { affinityOf } from "../../src/affinity.ts";
import { shardOf } from "../../src/edge/client.ts";
import { decodeJsonFrame, encodeFrame, encodeJsonFrame, readFrames, type Frame } from "../../src/edge/frames.ts";
import { edgeJsonEventSchema, type EdgeJob } from "../../src/edge/job.ts";
import { runJob } from "../../src/edge/run-job.ts";
import { GREEDY } from "../../src/generation.ts";
import { loadEngine } from "../../src/model/engine.ts";
import { generate } from "../../src/model/generate.ts";
import { decodeHandoff } from "../../src/origin/handoff-codec.ts";
import type { Router } from "../../src/policy/router.ts";
import { KV_WIDTH, mockModel, VOCABULARY, WIDTH } from "./model-mock.ts";

const never = new AbortController().signal;

describe("a bundle's files", () => {
  const ASSETS = {
    fetch: async (url: string) => new Response("asset", { status: url.endsWith("/rim.onnx") ? 200 : 404 }),
  } as unknown as Fetcher;
  const bucket = (objects: Record<string, string>) =>
    ({
      get: async (key: string) => (key in objects ? new Response(objects[key]) : null),
    }) as unknown as R2Bucket;
  const text = async (read: Promise<Uint8Array>) => new TextDecoder().decode(await read);

  test("come from the assets, those that are not there from R2, by their digest", async () => {
    const source = bundleSource({ ASSETS, MODEL: bucket({ "weights/abc": "object" }) });
    expect(await text(source.read("rim.onnx", "abc"))).toBe("asset");
    expect(await text(source.read("rim.0.bin", "abc"))).toBe("object");
    await expect(source.read("rim.0.bin", "def")).rejects.toThrow("npx sortie upload");
    await expect(source.read("bundle.json")).rejects.toThrow("npm run build"); // the manifest is an asset always
    await expect(bundleSource({ ASSETS }).read("rim.0.bin", "abc")).rejects.toThrow("npm run build");
  });
});

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
  const job = (over: Partial<EdgeJob["request"]> = {}, gates: EdgeJob["gates"] = null): EdgeJob => ({
    request: {
      request_id: "r",
      token_ids: PROMPT,
      answer_tokens: 0,
      exit_layer: 1,
      max_tokens: 40,
      sampling: { ...GREEDY, seed: 1 },
      top_logprobs: 0,
      stop_token_ids: [],
      ...over,
    },
    gates,
  });

  /** Gates whose every score is one half; nothing is learned. */
  const HALF = {
    prefill: new Map([1, 3].map((exit) => [exit, { weights: new Float32Array(4 + 2 * WIDTH), bias: 0 }])),
    decode: new Map([1, 3].map((exit) => [exit, { weights: [0, 0, 0, 0, 0], bias: 0 }])),
  } as unknown as Router;

  async function run(edgeJob: EdgeJob, exits?: readonly number[]) {
    const { bundle, source, runtime } = mockModel();
    const engine = await loadEngine({ bundle, source, runtime, ...(exits && { exits }) });
    const counts = { tokens: 0, ended: 0 };
    const stream = runJob({ engine, router: HALF }, edgeJob, never, {
      generate,
      onHandoff: () => undefined,
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

  const gates = (
    thresholds: { prefill: number; decode: number },
    over: Partial<NonNullable<EdgeJob["gates"]>> = {},
  ): EdgeJob["gates"] => ({
    ladder: [{ exit: 1, score: 0.5 }],
    prefill_to: 4,
    decode_to: 4,
    target: { range: "1-4", quality: 0.95, thresholds: { prompt: 0.5, alone: 0.5, ...thresholds } },
    shadow: null,
    ...over,
  });
  const target = (bundle: Awaited<ReturnType<typeof run>>["bundle"]) => ({
    fingerprint: bundle.fingerprint,
    numerics: ["fp32" as const],
    exits: bundle.exits,
    hiddenSize: WIDTH,
    kvSize: KV_WIDTH,
    kvHeads: 1,
    vocabSize: VOCABULARY,
  });
  const eventsOf = (frames: readonly Frame[]) =>
    frames.map((frame) => edgeJsonEventSchema.parse(decodeJsonFrame(frame)));

  test("a hard verdict comes before any token, with the state to resume from", async () => {
    const { bundle, counts, stream } = await run(job({}, gates({ prefill: 0.6, decode: 0 })), [1]);
    const frames = await Array.fromAsync(readFrames(stream));
    expect(frames).toHaveLength(2);
    expect(eventsOf(frames.slice(0, 1))).toEqual([
      expect.objectContaining({ type: "verdict", exit: 4, handoff: expect.objectContaining({}) }),
    ]);
    const { handoff, request } = decodeHandoff(frames[1]!.payload, target(bundle));
    expect(handoff).toMatchObject({ exitLayer: 1, positions: PROMPT.length });
    expect(request).toMatchObject({ exit_layer: 4, token_ids: PROMPT });
    expect(counts).toEqual({ tokens: 0, ended: 1 });
  });

  test("an easy verdict is said and the answer follows", async () => {
    const { stream } = await run(job({ max_tokens: 2 }, gates({ prefill: 0.4, decode: 0 })));
    const events = eventsOf(await Array.fromAsync(readFrames(stream)));
    expect(events.map(({ type }) => type)).toEqual(["verdict", "token", "token", "end"]);
    expect(events[0]).toMatchObject({ exit: 1, handoff: null });
  });

  test("the ladder is climbed on what the rung before computed, and the answer is that exit's own", async () => {
    const ladder = [
      { exit: 1, score: 0.5 },
      { exit: 3, score: 0.5 },
    ];
    const climbed = await run(
      job({ max_tokens: 4 }, gates({ prefill: 0.6, decode: 0 }, { ladder, prefill_to: null, decode_to: 3 })),
    );
    const [verdict, ...events] = eventsOf(await Array.fromAsync(readFrames(climbed.stream)));
    expect(verdict).toMatchObject({ type: "verdict", exit: 3, handoff: null });
    const alone = await run(job({ max_tokens: 4, exit_layer: 3 }));
    const expected = eventsOf(await Array.fromAsync(readFrames(alone.stream)));
    const tokens = (list: typeof events) => list.filter(({ type }) => type === "token");
    expect(tokens(events)).toEqual(tokens(expected));
    expect(events.at(-1)).toMatchObject({ usage: { prompt_tokens: PROMPT.length, cached_tokens: 0 } });
  });

  test("gate 3 hands the running sequence on: what was said stays, and nothing is read again", async () => {
    const { bundle, counts, stream } = await run(job({ max_tokens: 9 }, gates({ prefill: 0, decode: 0.6 })), [1]);
    const frames = await Array.fromAsync(readFrames(stream));
    const [begun, said, doubt] = eventsOf(frames.slice(0, 3));
    expect(begun).toMatchObject({ type: "verdict", exit: 1, handoff: null });
    expect(doubt).toMatchObject({
      type: "verdict",
      exit: 4,
      handoff: { usage: { completion_tokens_by_exit: { 1: 1 } } },
    });
    const { handoff, request } = decodeHandoff(frames[3]!.payload, target(bundle));
    expect(said).toMatchObject({ type: "token", id: request.token_ids.at(-1) });
    expect(request).toMatchObject({ exit_layer: 4, answer_tokens: 1, max_tokens: 8 });
    expect(handoff).toMatchObject({ positions: PROMPT.length }); // the last token has no state yet
    expect([...handoff.inputIds]).toEqual(request.token_ids);
    expect(counts).toEqual({ tokens: 1, ended: 1 });
  });

  test("gate 3 escalates at the edge where the edge has the exit, once, and adds up what was used", async () => {
    const { stream } = await run(
      job({ max_tokens: 5 }, gates({ prefill: 0, decode: 0.6 }, { prefill_to: null, decode_to: 3 })),
    );
    const events = eventsOf(await Array.fromAsync(readFrames(stream)));
    expect(events.map(({ type }) => type)).toEqual(["token", "verdict", "token", "token", "token", "token", "end"]);
    expect(events.at(-1)).toMatchObject({
      usage: { prompt_tokens: PROMPT.length, cached_tokens: 0, completion_tokens_by_exit: { 1: 1, 3: 4 } },
    });
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
  expect(affinityOf(long, "acme/0")).toBe(affinityOf([...long, 1], "acme/0"));
  expect(affinityOf(long, "acme/0")).not.toBe(affinityOf(long, "acme-2/0"));
});
