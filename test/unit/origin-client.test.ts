import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import { GREEDY, type GenerationRequest, type TokenEvent } from "../../src/generation.ts";
import type { Handoff } from "../../src/handoff.ts";
import { createOriginClient, type OriginClientOptions } from "../../src/origin/client.ts";
import { decodeHandoff } from "../../src/origin/handoff-codec.ts";
import { OriginError } from "../../src/origin/origin-error.ts";
import { MAX_BODY_BYTES } from "../../src/origin/protocol.ts";
import { importSecret, NonceStore, verifySignature } from "../../src/origin/signing.ts";

const SECRET = "a secret of some length";
const TIMEOUTS = { connectMs: 300, firstEventMs: 300, idleMs: 300 };

const request: GenerationRequest = {
  request_id: "r1",
  token_ids: [1, 2, 3],
  answer_tokens: 0,
  exit_layer: 12,
  max_tokens: 4,
  sampling: { ...GREEDY, seed: 1 },
  top_logprobs: 0,
  stop_token_ids: [],
};

const handoff: Handoff = {
  fingerprint: "0123456789abcdef",
  numerics: "w8a8",
  exitLayer: 1,
  positions: 2,
  inputIds: Int32Array.from(request.token_ids),
  hiddenState: Float32Array.from([1, 2, 3, 4]),
  innerHidden: new Map(),
  pastK: [Float32Array.from([5, 6])],
  pastV: [Float32Array.from([7, 8])],
};

const token = (id: number, exit = 12): TokenEvent => ({ type: "token", id, logprob: -0.5, exit });
const end = (tokens: number, exit = 12): TokenEvent => ({
  type: "end",
  finish_reason: "length",
  usage: { prompt_tokens: 3, cached_tokens: 0, completion_tokens_by_exit: { [exit]: tokens } },
  timings: { queue_ms: 0, prefill_ms: 1, decode_ms: 2 },
});
const USAGE = { prompt_tokens: 3, cached_tokens: 0, completion_tokens_by_exit: {} };
const data = (value: unknown): string => `data: ${JSON.stringify(value)}\n\n`;
const GOOD = [token(7), token(8), end(2)];

type Handler = (request: IncomingMessage, response: ServerResponse) => void | Promise<void>;
const servers: Server[] = [];

async function serve(handler: Handler): Promise<string> {
  const server = createServer((req, res) => void handler(req, res));
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

afterEach(async () => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
});

const clientOf = (url: string, options: Partial<OriginClientOptions> = {}) =>
  createOriginClient({ url, secret: SECRET, timeouts: TIMEOUTS, ...options });

/** A server that answers 200 with these pieces of a stream, then ends it. */
const stream = (...pieces: string[]): Promise<string> =>
  serve((_, res) => {
    res.writeHead(200, { "content-type": "text/event-stream" });
    for (const piece of pieces) res.write(piece);
    res.end();
  });

/** Reads everything. @returns the events, and the failure that ended them, by kind. */
async function collect(url: string, signal?: AbortSignal) {
  const events: TokenEvent[] = [];
  try {
    for await (const event of await clientOf(url).generate(request, null, signal)) events.push(event);
    return { events, failure: null };
  } catch (error) {
    if (!(error instanceof OriginError)) throw error;
    return { events, failure: error.kind, error };
  }
}

async function readBody(req: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of req) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

const closed = (res: ServerResponse): Promise<void> => new Promise((resolve) => res.on("close", () => resolve()));

describe("origin client, good servers", () => {
  it("gives the events, whatever pieces they come in", async () => {
    const text = `: ping\n\n${GOOD.map(data).join("")}`;
    expect(await collect(await stream(text))).toEqual({ events: GOOD, failure: null });
    expect(await collect(await stream(...Array.from(text)))).toEqual({ events: GOOD, failure: null });
    expect(await collect(await stream(text.replaceAll("\n", "\r\n")))).toEqual({ events: GOOD, failure: null });
    expect(await collect(await stream(data(end(0))))).toEqual({ events: [end(0)], failure: null });
  });

  it("signs what it sends, and sends a handoff as safetensors", async () => {
    const key = await importSecret(SECRET);
    const seen: unknown[] = [];
    const url = await serve(async (req, res) => {
      const headers = new Headers(req.headers as Record<string, string>);
      const verdict = await verifySignature(
        key,
        { method: req.method!, path: req.url!, headers },
        new NonceStore(undefined, ""),
        Date.now(),
      );
      const target = {
        fingerprint: handoff.fingerprint,
        numerics: [handoff.numerics],
        exits: [1, 12],
        hiddenSize: 2,
        kvSize: 1,
        kvHeads: 1,
        vocabSize: 9,
      };
      seen.push(verdict.ok, req.headers["content-type"], decodeHandoff(await readBody(req), target));
      res.writeHead(200, { "content-type": "text/event-stream" });
      res.end(GOOD.map(data).join(""));
    });
    for await (const _ of await clientOf(url).generate(request, handoff));
    expect(seen).toEqual([true, "application/vnd.safetensors", { handoff, request }]);
  });

  it("names what belongs together: one tenant's prompts that begin alike", async () => {
    const seen: unknown[] = [];
    const url = await serve(async (req, res) => {
      seen.push(req.headers["x-session-id"]);
      const { token_ids } = JSON.parse((await readBody(req)).toString()) as GenerationRequest;
      const usage = { ...USAGE, prompt_tokens: token_ids.length };
      res.writeHead(200, { "content-type": "text/event-stream" }).end(data({ ...end(0), usage }));
    });
    const client = createOriginClient({ url, secret: SECRET });
    const long = Array.from({ length: 64 }, (_, id) => id);
    const cache = { scope: "acme/0", shared_tokens: 0, continued: false };
    for (const asked of [long, [...long, 7], [7, ...long]])
      for await (const _ of await client.generate({ ...request, token_ids: asked, cache }, null));
    expect(seen[0]).toMatch(/^[0-9a-f]+$/);
    expect(seen[1]).toBe(seen[0]);
    expect(seen[2]).not.toBe(seen[0]);
  });

  it("keeps the connection for the next request", async () => {
    const ports = new Set<number | undefined>();
    const url = await serve(async (req, res) => {
      ports.add(req.socket.remotePort);
      await readBody(req);
      res.writeHead(200, { "content-type": "text/event-stream" });
      res.write(GOOD.map(data).join(""), () => setTimeout(() => res.end(), 20)); // ends after its last event
    });
    for (let i = 0; i < 3; i++) expect((await collect(url)).failure).toBe(null);
    expect(ports.size).toBe(1);
  });

  it("waits for a reader that is slower than the server may be", async () => {
    const url = await serve((_, res) => {
      res.writeHead(200, { "content-type": "text/event-stream" }).write(data(GOOD[0]));
      setTimeout(() => res.end(GOOD.slice(1).map(data).join("")), TIMEOUTS.idleMs + 100);
    });
    const events: TokenEvent[] = [];
    for await (const event of await clientOf(url).generate(request, null)) {
      if (events.push(event) === 1) await new Promise((resolve) => setTimeout(resolve, TIMEOUTS.idleMs + 50));
    }
    expect(events).toEqual(GOOD);
  });

  it("reads info", async () => {
    const info = {
      protocol: "sortie-origin/1",
      model: "tiny",
      fingerprint: "0123456789abcdef",
      numerics: "w8a8",
      handoff_numerics: ["w8a8"],
      exits: [3, 12],
      context_length: 512,
      prefill_tokens_per_second: 900.5,
    };
    const url = await serve((_, res) => void res.end(JSON.stringify({ ...info, of_a_later_server: 1 })));
    expect(await clientOf(url).info()).toEqual(info);
  });
});

describe("origin client, refusals", () => {
  const answering = (status: number, body: string, headers: Record<string, string> = {}): Promise<string> =>
    serve((_, res) => void res.writeHead(status, headers).end(body));
  const refusalBody = JSON.stringify({
    error: { message: "no", type: "t", param: null, code: "handoff_shape_mismatch" },
  });

  it.each([
    [400, "refused"],
    [401, "refused"],
    [422, "refused"],
    [429, "overloaded"],
    [503, "overloaded"],
    [500, "unreachable"],
    [502, "unreachable"],
    [302, "malformed"],
    [204, "malformed"],
  ])("tells %i as %s", async (status, kind) => {
    const { failure, error } = await collect(await answering(status, status === 204 ? "" : refusalBody));
    expect([failure, error?.status]).toEqual([kind, status]);
    if (status !== 204) expect(error?.code).toBe("handoff_shape_mismatch");
  });

  it("follows no redirect: what is signed is for one place", async () => {
    let followed = false;
    const elsewhere = await serve((_, res) => {
      followed = true;
      res.end();
    });
    expect((await collect(await answering(307, "", { location: elsewhere }))).failure).toBe("malformed");
    expect(followed).toBe(false);
  });

  it("sends token ids at once when the handoff is beyond the bound", async () => {
    const types: (string | undefined)[] = [];
    const url = await serve(async (req, res) => {
      types.push(req.headers["content-type"]);
      await readBody(req);
      res.writeHead(200, { "content-type": "text/event-stream" }).end(GOOD.map(data).join(""));
    });
    const large = { ...handoff, hiddenState: new Float32Array(MAX_BODY_BYTES / Float32Array.BYTES_PER_ELEMENT) };
    for await (const _ of await clientOf(url).generate(request, large));
    expect(types).toEqual(["application/json"]);
  });

  it("passes retry-after on, and survives refusals without a body it knows", async () => {
    expect((await collect(await answering(503, "<html>", { "retry-after": "7" }))).error?.retryAfterSeconds).toBe(7);
    const dated = await collect(await answering(503, "", { "retry-after": "Tue, 24 Nov 2026 00:00:00 GMT" }));
    expect(dated.error?.retryAfterSeconds).toBe(null);
    expect((await collect(await answering(400, "x".repeat(1_000_000)))).failure).toBe("malformed");
  });

  it("falls back to token ids once when a handoff is refused", async () => {
    const types: (string | undefined)[] = [];
    const told: (string | null)[] = [];
    const url = await serve(async (req, res) => {
      types.push(req.headers["content-type"]);
      await readBody(req);
      if (types.length === 1) return void res.writeHead(422).end(refusalBody);
      res.writeHead(200, { "content-type": "text/event-stream" }).end(GOOD.map(data).join(""));
    });
    const client = clientOf(url, { onHandoffRefused: (error) => told.push(error.code) });
    const events: TokenEvent[] = [];
    for await (const event of await client.generate(request, handoff)) events.push(event);
    expect(events).toEqual(GOOD);
    expect(types).toEqual(["application/vnd.safetensors", "application/json"]);
    expect(told).toEqual(["handoff_shape_mismatch"]);
  });

  it.each([
    [422, 2],
    [401, 1],
    [503, 1],
    [500, 1],
  ])("after %i to a handoff sends %i requests in all", async (status, requests) => {
    let count = 0;
    const url = await serve(async (req, res) => {
      count++;
      await readBody(req);
      res.writeHead(status).end(refusalBody);
    });
    await expect(clientOf(url).generate(request, handoff)).rejects.toBeInstanceOf(OriginError);
    expect(count).toBe(requests);
  });
});

describe("origin client, bad servers", () => {
  it("nobody listens", async () => {
    const url = await stream();
    const server = servers.pop()!;
    await new Promise((resolve) => server.close(resolve));
    expect((await collect(url)).failure).toBe("unreachable");
  });

  it("a server that hangs up at once", async () => {
    expect((await collect(await serve((req) => void req.socket.destroy()))).failure).toBe("unreachable");
  });

  it("a server that never answers", async () => {
    expect((await collect(await serve(() => {}))).failure).toBe("timeout");
  });

  it("a server that answers and then is silent", async () => {
    const url = await serve((_, res) => res.writeHead(200, { "content-type": "text/event-stream" }).flushHeaders());
    expect((await collect(url)).failure).toBe("timeout");
  });

  it("a server that only pings, before and after the first token", async () => {
    for (const before of ["", data(token(1))]) {
      const url = await serve(async (_, res) => {
        res.writeHead(200, { "content-type": "text/event-stream" }).write(before || ": ping\n\n");
        const pings = setInterval(() => res.write(": ping\n\n"), 50);
        await closed(res);
        clearInterval(pings);
      });
      expect(await collect(url)).toMatchObject({ events: before ? [token(1)] : [], failure: "timeout" });
    }
  });

  it("half a stream", async () => {
    expect(await collect(await stream(data(token(1))))).toMatchObject({ events: [token(1)], failure: "interrupted" });
    expect(await collect(await stream(data(token(1)) + data(end(1)).slice(0, 20)))).toMatchObject({
      failure: "interrupted",
    });
    expect((await collect(await stream())).failure).toBe("interrupted");
    const cut = await serve((_, res) => {
      res.writeHead(200, { "content-type": "text/event-stream" });
      res.write(data(token(1)), () => setTimeout(() => res.destroy(), 50));
    });
    expect(await collect(cut)).toMatchObject({ events: [token(1)], failure: "interrupted" });
  });

  it("an error in mid-stream", async () => {
    const error = { error: { message: "engine fault", type: "server_error", param: null, code: "engine_failed" } };
    const result = await collect(await stream(data(token(1)), data(error)));
    expect(result).toMatchObject({ events: [token(1)], failure: "interrupted", error: { code: "engine_failed" } });
  });

  it.each([
    ["garbage", "\u0000\u0001garbage\n"],
    ["HTML", "<html></html>\n"],
    ["an event that is no JSON", "data: {nope\n\n"],
    ["an event of another protocol", data({ choices: [] })],
    ["an unknown key", data({ ...token(1), extra: 1 })],
    ["a token of a deeper exit than was asked", data(token(1, 24))],
    ["more tokens than were asked", Array.from({ length: 5 }, () => data(token(1))).join("")],
    ["usage with more tokens than were sent", data(token(1)) + data(end(2))],
    ["usage with fewer tokens than were sent", data(token(1)) + data(end(0))],
    ["more prompt tokens than were sent", data({ ...end(0), usage: { ...USAGE, prompt_tokens: 4 } })],
    ["fewer prompt tokens than were sent", data({ ...end(0), usage: { ...USAGE, prompt_tokens: 2 } })],
    ["more cached tokens than the prompt has", data({ ...end(0), usage: { ...USAGE, cached_tokens: 4 } })],
    ["a first token with as many", data({ ...token(1), cached_tokens: 1_000_000_000 })],
    ["cached tokens below nothing", data({ ...end(0), usage: { ...USAGE, cached_tokens: -1 } })],
    ["usage of another exit", data(token(1)) + data(end(1, 3))],
    ["log-probabilities that nobody asked for", data({ ...token(1), top_logprobs: [{ id: 1, logprob: -1 }] })],
    ["a log-probability that is no number", `data: {"type":"token","id":1,"logprob":1e999,"exit":12}\n\n`],
    ["a time that is none", data({ ...end(0), timings: { queue_ms: -1, prefill_ms: 1, decode_ms: 1 } })],
    ["comments by the megabyte", `: ${"x".repeat(8_000)}\n`.repeat(20)],
    ["an endless line", `data: ${"x".repeat(20_000)}`],
    ["an endless ping", `: ${"x".repeat(20_000)}`],
  ])("%s", async (_, text) => {
    expect((await collect(await stream(text))).failure).toBe("malformed");
  });

  it.each([
    ["an id outside the vocabulary", data(token(100))],
    ["one among the alternatives", data({ ...token(1), top_logprobs: [{ id: 100, logprob: -1 }] })],
    ["a token of an exit that the checkpoint does not have", data(token(1, 5))],
  ])("%s", async (_, text) => {
    const answering = { vocabulary: 100, exits: [3, 12] };
    const client = clientOf(await stream(text), { answering });
    await expect(client.generate({ ...request, top_logprobs: 1 }, null)).rejects.toMatchObject({ kind: "malformed" });
  });

  it("bytes that are no UTF-8", async () => {
    const url = await serve((_, res) => {
      res.writeHead(200, { "content-type": "text/event-stream" }).end(Buffer.from([0x64, 0xff, 0xfe, 0x0a]));
    });
    expect((await collect(url)).failure).toBe("malformed");
  });

  it("a 200 that is no stream", async () => {
    expect((await collect(await serve((_, res) => void res.end("{}")))).failure).toBe("malformed");
  });

  it("events after the end are not read", async () => {
    const url = await stream(GOOD.map(data).join(""), data(token(9)), "garbage");
    expect(await collect(url)).toEqual({ events: GOOD, failure: null });
  });

  it("info that lies or never ends", async () => {
    const lies = await serve((_, res) => void res.end('{"protocol":"sortie-origin/2"}'));
    await expect(clientOf(lies).info()).rejects.toMatchObject({ kind: "malformed" });
    const endless = await serve(async (_, res) => {
      const writes = setInterval(() => res.write("x".repeat(10)), 10);
      await closed(res);
      clearInterval(writes);
    });
    await expect(clientOf(endless).info()).rejects.toMatchObject({ kind: "timeout" });
    const huge = await serve((_, res) => void res.end("x".repeat(1_000_000)));
    await expect(clientOf(huge).info()).rejects.toMatchObject({ kind: "malformed" });
  });
});

describe("origin client, ending early", () => {
  /** A server that sends a token every 10 ms. @returns its address, and when its connection was closed. */
  async function endless(): Promise<{ url: string; closed: Promise<void> }> {
    let tell: () => void;
    const whenClosed = new Promise<void>((resolve) => (tell = resolve));
    const url = await serve(async (_, res) => {
      res.writeHead(200, { "content-type": "text/event-stream" });
      res.write(data(token(1)));
      const tokens = setInterval(() => res.write(": ping\n\n"), 10);
      await closed(res);
      clearInterval(tokens);
      tell();
    });
    return { url, closed: whenClosed };
  }

  it("a reader that breaks off closes the request", async () => {
    const server = await endless();
    for await (const _ of await clientOf(server.url).generate(request, null)) break;
    await server.closed;
  });

  it("a reader that returns before reading closes the request", async () => {
    const server = await endless();
    const iterator = (await clientOf(server.url).generate(request, null))[Symbol.asyncIterator]();
    await iterator.return?.();
    await server.closed;
    expect(await iterator.next()).toEqual({ done: true, value: undefined });
  });

  it("an abort ends the request and throws the caller's reason", async () => {
    const server = await endless();
    const controller = new AbortController();
    const events = await clientOf(server.url).generate(request, null, controller.signal);
    const reading = (async () => {
      for await (const event of events) if (event.type === "token") controller.abort(new Error("gone"));
    })();
    await expect(reading).rejects.toThrow("gone");
    await server.closed;
    await expect(clientOf(server.url).generate(request, null, controller.signal)).rejects.toThrow("gone");
    const waiting = new AbortController();
    setTimeout(() => waiting.abort(new Error("left")), 50);
    await expect(clientOf(await serve(() => {})).generate(request, null, waiting.signal)).rejects.toThrow("left");
  });

  it("a transport that ignores aborts cannot hold the reader", async () => {
    const deaf: typeof fetch = () => new Promise(() => {});
    await expect(clientOf("http://127.0.0.1:1", { fetch: deaf }).info()).rejects.toMatchObject({ kind: "timeout" });
  });
});
