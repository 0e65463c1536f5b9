import type { Server } from "node:http";
import type { AddressInfo } from "node:net";
import { serve } from "@hono/node-server";
import { afterEach, describe, expect, it, vi } from "vitest";
import { ApiError } from "../../src/errors.ts";
import { GREEDY, type GenerationRequest, type TokenEvent } from "../../src/generation.ts";
import { HandoffError } from "../../src/model/errors.ts";
import { createOriginClient } from "../../src/origin/client.ts";
import { PING_INTERVAL_MS } from "../../src/origin/protocol.ts";
import { answerStream } from "../../src/origin/server-answer.ts";
import { createOriginApp, type LogLine, type OriginEngine } from "../../src/origin/server-app.ts";
import { Metrics } from "../../src/origin/server-metrics.ts";
import { RequestQueue } from "../../src/origin/server-queue.ts";
import { importSecret, NonceStore } from "../../src/origin/signing.ts";

const SECRET = "a secret of some length";
const file = { path: "x", bytes: 0, sha256: "0".repeat(64) };
const graph = { graph: file, weights: [] };

const request: GenerationRequest = {
  request_id: "r1",
  token_ids: [1, 2, 3],
  answer_tokens: 0,
  exit_layer: 3,
  max_tokens: 50,
  sampling: { ...GREEDY, seed: 1 },
  top_logprobs: 0,
  stop_token_ids: [],
};

const handoff = {
  fingerprint: "0123456789abcdef",
  numerics: "w8a8",
  exitLayer: 3,
  positions: 1,
  inputIds: Int32Array.from(request.token_ids),
  hiddenState: new Float32Array(4),
  innerHidden: new Map<number, Float32Array>(),
  pastK: Array.from({ length: 3 }, () => new Float32Array(2)),
  pastV: Array.from({ length: 3 }, () => new Float32Array(2)),
} as const;

const NO_CACHE = { bytes: 0, blocks: 0, evicted: 0, asked: 0, found: 0 };

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** An engine that counts: a token every millisecond, its id the number of tokens before it. */
function countingEngine(options: { tokenMs?: number; failAt?: number; refuseHandoff?: boolean } = {}) {
  const counts = { computed: 0, running: 0, mostRunning: 0 };
  const engine: OriginEngine = {
    bundle: {
      format: "sortie-bundle/2",
      name: "counting",
      fingerprint: "0123456789abcdef",
      numerics: "w8a8",
      shape: { layers: 6, hidden_size: 4, heads: 2, kv_heads: 1, head_dim: 2, vocab_size: 64, context_length: 128 },
      exits: [3, 6],
      eos_token_ids: [0],
      rim: graph,
      whole: file,
      segments: [{ ...graph, first_layer: 1, last_layer: 3 }],
      tokenizer: { tokenizer: file, config: file },
    },
    exits: [3, 6],
    prefillTokensPerSecond: 100,
    blocks: async () => [],
    cacheState: async () => NO_CACHE,
    async *generate(asked, signal, given) {
      if (given !== undefined && options.refuseHandoff === true) throw new HandoffError("shape", "not that shape");
      counts.running++;
      counts.mostRunning = Math.max(counts.mostRunning, counts.running);
      try {
        for (let id = 0; id < asked.max_tokens; id++) {
          await sleep(options.tokenMs ?? 1);
          signal.throwIfAborted();
          if (id === options.failAt) throw new Error("a secret of the engine");
          counts.computed++;
          yield { type: "token", id: id % 64, logprob: -1, exit: asked.exit_layer };
        }
        yield {
          type: "end",
          finish_reason: "length",
          timings: { queue_ms: 0, prefill_ms: 1, decode_ms: 2 },
          usage: {
            prompt_tokens: 3,
            cached_tokens: given?.positions ?? 0,
            completion_tokens_by_exit: { [asked.exit_layer]: asked.max_tokens },
          },
        };
      } finally {
        counts.running--;
      }
    },
  };
  return { engine, counts };
}

const servers: Server[] = [];
afterEach(async () => {
  vi.useRealTimers();
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
});

async function origin(engine: OriginEngine, limits = { active: 2, waiting: 2 }) {
  const queue = new RequestQueue(limits);
  const metrics = new Metrics(queue);
  const log: LogLine[] = [];
  const state = { draining: false, end: new AbortController(), failures: 0 };
  const app = createOriginApp({
    engine,
    key: await importSecret(SECRET),
    metricsToken: SECRET,
    nonces: new NonceStore(undefined, ""),
    queue,
    metrics,
    draining: () => state.draining,
    serverSignal: state.end.signal,
    onFailure: () => void state.failures++,
    log: (line) => log.push(line),
    trace: () => {},
  });
  const server = serve({ fetch: app.fetch, hostname: "127.0.0.1", port: 0 }) as Server;
  servers.push(server);
  await new Promise((resolve) => server.once("listening", resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return { url, queue, metrics, log, state, client: createOriginClient({ url, secret: SECRET }) };
}

async function collect(events: AsyncIterable<TokenEvent>): Promise<TokenEvent[]> {
  const all: TokenEvent[] = [];
  for await (const event of events) all.push(event);
  return all;
}

const ids = (events: readonly TokenEvent[]): number[] =>
  events.flatMap((event) => (event.type === "token" ? [event.id] : []));

describe("embedded origin, mock engine", () => {
  it("streams an answer, logs one line without ids, counts", async () => {
    const { engine } = countingEngine();
    const { client, log, metrics, queue } = await origin(engine);
    const events = await collect(await client.generate({ ...request, max_tokens: 3 }, handoff));
    expect(ids(events)).toEqual([0, 1, 2]);
    expect(events.at(-1)).toMatchObject({ type: "end", usage: { cached_tokens: 1 } });
    await queue.idle();
    expect(log).toHaveLength(1);
    expect(log[0]).toMatchObject({
      event: "generate",
      request_id: "r1",
      outcome: "length",
      tokens: 3,
      handoff_positions: 1,
      prefill_ms: 1,
    });
    expect(metrics.render(NO_CACHE)).toContain('sortie_origin_tokens_computed_total{exit="3"} 3');
    expect(metrics.render(NO_CACHE)).toContain('sortie_origin_prompt_tokens_total{state="computed"} 2');
    expect(metrics.render(NO_CACHE)).toContain('sortie_origin_requests_total{outcome="length"} 1');
  });

  it("takes any request id", async () => {
    const { client } = await origin(countingEngine().engine);
    const events = await collect(
      await client.generate({ ...request, request_id: "a\nb: \u{1f600}", max_tokens: 1 }, null),
    );
    expect(ids(events)).toEqual([0]);
  });

  it("stops within one token when the client goes, and frees the place", async () => {
    const { engine, counts } = countingEngine({ tokenMs: 20 });
    const { client, queue, metrics } = await origin(engine);
    let received = 0;
    for await (const _ of await client.generate(request, null)) if (++received === 3) break;
    await queue.idle();
    expect(counts.computed).toBeLessThanOrEqual(received + 1);
    await sleep(100);
    expect(counts.computed).toBeLessThanOrEqual(received + 1);
    expect(counts.running).toBe(0);
    expect(metrics.render(NO_CACHE)).toContain('sortie_origin_requests_total{outcome="cancelled"} 1');
  });

  it("frees the place of a client that goes while it waits", async () => {
    const { engine, counts } = countingEngine({ tokenMs: 20 });
    const { client, queue } = await origin(engine, { active: 1, waiting: 1 });
    const first = await client.generate(request, null);
    const waiting = new AbortController();
    const second = client.generate(request, null, waiting.signal);
    second.catch(() => {});
    await vi.waitFor(() => expect(queue.size).toBe(2));
    waiting.abort(new Error("left"));
    await expect(second).rejects.toThrow("left");
    await vi.waitFor(() => expect(queue.size).toBe(1));
    for await (const _ of first) break;
    await queue.idle();
    expect(counts.mostRunning).toBe(1);
  });

  it("says how long a request waited", async () => {
    const { engine } = countingEngine({ tokenMs: 60 }); // on a busy machine the second request takes its time too
    const { client } = await origin(engine, { active: 1, waiting: 1 });
    const short = { ...request, max_tokens: 5 };
    const first = collect(await client.generate(short, null));
    const second = await collect(await client.generate(short, null));
    const queued = [...(await first), ...second].flatMap((event) =>
      event.type === "end" ? [event.timings.queue_ms] : [],
    );
    expect(queued[0]).toBeLessThan(10);
    expect(queued[1]).toBeGreaterThan(20);
  });

  it("tells the engine at once that the client is gone", async () => {
    const { engine, counts } = countingEngine();
    const stuck: OriginEngine = {
      ...engine,
      async *generate(_, signal) {
        yield { type: "token", id: 1, logprob: -1, exit: 3 };
        await new Promise((resolve) => signal.addEventListener("abort", resolve));
      },
    };
    const { client, queue } = await origin(stuck);
    const iterator = (await client.generate(request, null))[Symbol.asyncIterator]();
    await iterator.next();
    const pending = iterator.next();
    pending.catch(() => {});
    await iterator.return?.();
    await queue.idle();
    expect(counts.computed).toBe(0);
  });

  it("computes so many at once, lets so many wait, and refuses the rest with retry-after", async () => {
    // An answer takes longer than a busy machine needs to send seven requests.
    const { engine, counts } = countingEngine({ tokenMs: 100 });
    const { client } = await origin(engine, { active: 2, waiting: 2 });
    const short = { ...request, max_tokens: 5 };
    const answers = await Promise.allSettled(
      Array.from({ length: 7 }, async () => collect(await client.generate(short, null))),
    );
    const refused = answers.flatMap((answer) => (answer.status === "rejected" ? [answer.reason as unknown] : []));
    expect(refused).toHaveLength(3);
    for (const error of refused)
      expect(error).toMatchObject({ kind: "overloaded", code: "origin_overloaded", retryAfterSeconds: 2 });
    for (const answer of answers) if (answer.status === "fulfilled") expect(ids(answer.value)).toEqual([0, 1, 2, 3, 4]);
    expect(counts.mostRunning).toBe(2);
  });

  it("tells a failure in mid-stream without saying why; the log has the reason", async () => {
    const { engine } = countingEngine({ failAt: 2 });
    const { client, log, queue, state } = await origin(engine);
    const events: TokenEvent[] = [];
    const reading = (async () => {
      for await (const event of await client.generate(request, null)) events.push(event);
    })();
    await expect(reading).rejects.toMatchObject({
      kind: "interrupted",
      code: "origin_failed",
      message: expect.not.stringContaining("secret") as string,
    });
    expect(ids(events)).toEqual([0, 1]);
    await queue.idle();
    expect(state.failures).toBe(1);
    expect(log[0]).toMatchObject({
      level: "error",
      outcome: "failed",
      cause: expect.stringContaining("a secret of the engine") as string,
    });
  });

  it("lets the client fall back when the engine finds a handoff wrong only as it starts", async () => {
    const { engine } = countingEngine({ refuseHandoff: true });
    const { url } = await origin(engine);
    const told: (string | null)[] = [];
    const client = createOriginClient({ url, secret: SECRET, onHandoffRefused: (error) => told.push(error.code) });
    expect(ids(await collect(await client.generate({ ...request, max_tokens: 2 }, handoff)))).toEqual([0, 1]);
    expect(told).toEqual(["handoff_shape_mismatch"]);
  });

  it("takes nothing new while draining, and ends what is left when told", async () => {
    const { engine } = countingEngine({ tokenMs: 10 });
    const { client, state, url, queue } = await origin(engine);
    const running = await client.generate(request, null);
    state.draining = true;
    expect((await fetch(`${url}/healthz`)).status).toBe(503);
    await expect(client.generate(request, null)).rejects.toMatchObject({ kind: "overloaded", code: "origin_draining" });
    state.end.abort();
    await expect(collect(running)).rejects.toMatchObject({ kind: "interrupted", code: "origin_draining" });
    await queue.idle();
  });
});

describe("answer stream", () => {
  /** A stream whose engine never answers, with a clock of its own. */
  function silent() {
    vi.useFakeTimers();
    const ended: string[] = [];
    const queue = new RequestQueue({ active: 1, waiting: 0 });
    const stream = answerStream({
      place: queue.enter()!,
      start: (signal) => ({
        next: () => new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason as Error))),
      }),
      serverSignal: new AbortController().signal,
      onEvent: () => {},
      onEnd: (outcome) => ended.push(outcome),
      describe: () => new ApiError("", { status: 500, type: "server_error", code: null }),
    });
    return { reader: stream.getReader(), ended, queue };
  }

  it("pings while the engine is silent", async () => {
    const { reader } = silent();
    for (let i = 0; i < 3; i++) {
      const reading = reader.read();
      await vi.advanceTimersByTimeAsync(PING_INTERVAL_MS);
      expect(new TextDecoder().decode((await reading).value)).toBe(": ping\n\n");
    }
    await reader.cancel();
  });

  it("gives up on a client that does not read", async () => {
    const { reader, ended, queue } = silent();
    await vi.advanceTimersByTimeAsync(60_000);
    expect(ended).toEqual(["cancelled"]);
    await expect(reader.read()).rejects.toThrow(/read nothing/);
    expect(queue.size).toBe(0);
  });
});
