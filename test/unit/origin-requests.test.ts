import { describe, expect, it } from "vitest";
import { ApiError } from "../../src/errors.ts";
import { bundleSchema } from "../../src/model/bundle.ts";
import { MAX_BODY_BYTES, MAX_JSON_BYTES, MAX_TOKEN_IDS } from "../../src/origin/protocol.ts";
import { RequestQueue } from "../../src/origin/server-queue.ts";
import { readGenerate, readSigned } from "../../src/origin/server-requests.ts";
import { importSecret, NonceStore, signRequest, utf8 } from "../../src/origin/signing.ts";

const file = { path: "x", bytes: 0, sha256: "0".repeat(64) };
const graph = { graph: file, weights: [] };
const bundle = bundleSchema.parse({
  format: "sortie-bundle/2",
  name: "b",
  fingerprint: "0123456789abcdef",
  numerics: "w8a8",
  shape: { layers: 6, hidden_size: 4, heads: 2, kv_heads: 1, head_dim: 2, vocab_size: 64, context_length: 128 },
  exits: [3, 6],
  eos_token_ids: [0],
  rim: graph,
  whole: file,
  segments: [{ ...graph, first_layer: 1, last_layer: 3 }],
  tokenizer: { tokenizer: file, config: file },
});

/** @returns status and code of the refusal. */
async function refusal(work: () => unknown): Promise<[number, string | null]> {
  try {
    await work();
  } catch (error) {
    if (error instanceof ApiError) return [error.status, error.code];
    throw error;
  }
  throw new Error("not refused");
}

describe("a signed body", () => {
  const read = async (body: BodyInit, signedBody: Uint8Array<ArrayBuffer>, headers: Record<string, string> = {}) => {
    const key = await importSecret("a secret of some length");
    const nonces = new NonceStore();
    const signature = await signRequest(key, "POST", "/v1/generate", signedBody, nonces.boot);
    const url = "http://origin/v1/generate";
    const request = new Request(url, {
      method: "POST",
      body,
      headers: { ...signature, ...headers },
      duplex: "half",
    } as RequestInit);
    return readSigned(request, key, nonces);
  };

  it("is the one that was signed", async () => {
    expect(await read("{}", utf8("{}"))).toEqual(utf8("{}"));
    expect(await refusal(() => read("{}", utf8("[]")))).toEqual([401, "signature_invalid"]);
  });

  it("is refused by its declared length before it is read", async () => {
    let pulled = 0;
    const body = new ReadableStream({ pull: () => void pulled++ }, { highWaterMark: 0 });
    const headers = { "content-length": String(MAX_BODY_BYTES + 1) };
    expect(await refusal(() => read(body, utf8(""), headers))).toEqual([413, "body_too_large"]);
    expect(pulled).toBe(0);
  });

  it("is not read past the bound when no length is declared", async () => {
    const chunk = new Uint8Array(1024 * 1024);
    let sent = 0;
    const body = new ReadableStream<Uint8Array>({
      pull: (controller) => (controller.enqueue(chunk), void (sent += chunk.length)),
    });
    expect(await refusal(() => read(body, utf8("")))).toEqual([413, "body_too_large"]);
    expect(sent).toBeLessThan(MAX_BODY_BYTES + 4 * chunk.length);
  });
});

describe("a request to generate", () => {
  const sampling = { seed: 1 };
  const good = { request_id: "r", token_ids: [1, 2], exit_layer: 3, max_tokens: 126, sampling, stop_token_ids: [] };
  const read = (text: string, type = "application/json") => readGenerate(utf8(text), type, bundle, [3, 6]);
  const refused = (change: object) => refusal(() => read(JSON.stringify({ ...good, ...change })));

  it("is accepted up to the bounds", () => {
    expect(read(JSON.stringify(good), "Application/JSON; charset=utf-8")).toMatchObject({
      request: good,
      handoff: null,
    });
  });

  it("is refused beyond them", async () => {
    expect(await refused({ max_tokens: 127 })).toEqual([400, "context_length_exceeded"]);
    expect(await refused({ token_ids: [64] })).toEqual([400, "request_invalid"]);
    expect(await refused({ token_ids: [] })).toEqual([400, "request_invalid"]);
    expect(await refused({ exit_layer: 4 })).toEqual([400, "exit_unknown"]);
    expect(await refused({ max_tokens: -1 })).toEqual([400, "request_invalid"]);
    expect(await refused({ token_ids: Array.from({ length: MAX_TOKEN_IDS + 1 }, () => 1) })).toEqual([
      400,
      "request_invalid",
    ]);
    expect(await refusal(() => read(" ".repeat(MAX_JSON_BYTES) + JSON.stringify(good)))).toEqual([
      413,
      "body_too_large",
    ]);
    expect(await refusal(() => read(JSON.stringify(good), ""))).toEqual([415, "content_type_unsupported"]);
    expect(await refusal(() => readGenerate(Uint8Array.of(0xff), "application/json", bundle, [3]))).toEqual([
      400,
      "request_invalid",
    ]);
  });
});

describe("the queue", () => {
  const state = async (turn: Promise<void>): Promise<string> =>
    Promise.race([turn.then(() => "turn"), new Promise<string>((resolve) => setImmediate(() => resolve("waits")))]);

  it("gives turns in order, and each place once", async () => {
    const queue = new RequestQueue({ active: 1, waiting: 2 });
    const [a, b, c] = [queue.enter()!, queue.enter()!, queue.enter()!];
    expect(queue.enter()).toBe(null);
    expect(await Promise.all([a, b, c].map(({ turn }) => state(turn)))).toEqual(["turn", "waits", "waits"]);
    a.leave();
    a.leave();
    expect(await Promise.all([b, c].map(({ turn }) => state(turn)))).toEqual(["turn", "waits"]);
    expect(queue.size).toBe(2);
  });

  it("lets one who waits leave without giving a turn away", async () => {
    const queue = new RequestQueue({ active: 1, waiting: 2 });
    const [a, b, c] = [queue.enter()!, queue.enter()!, queue.enter()!];
    c.leave();
    expect(await state(b.turn)).toBe("waits");
    a.leave();
    expect(await state(b.turn)).toBe("turn");
    b.leave();
    await queue.idle();
    expect(await state(queue.enter()!.turn)).toBe("turn");
  });
});
