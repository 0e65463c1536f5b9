/** The origin's client where it runs: in workerd, against a server that checks what arrives. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { unstable_startWorker } from "wrangler";
import { GREEDY, type GenerationRequest, type TokenEvent } from "../../src/generation.ts";
import { decodeHandoff, EXACT } from "../../src/origin/handoff-codec.ts";
import { importSecret, NonceStore, verifySignature } from "../../src/origin/signing.ts";
import type { Order } from "./fixtures/origin-client/worker.ts";

const SECRET = "a secret of some length";
const request: GenerationRequest = {
  request_id: "r1",
  token_ids: [1, 2, 3],
  answer_tokens: 0,
  exit_layer: 6,
  max_tokens: 5,
  top_logprobs: 0,
  stop_token_ids: [],
  sampling: { ...GREEDY, seed: 1 },
};
const handoff = {
  fingerprint: "0123456789abcdef",
  numerics: "w8a8",
  exitLayer: 1,
  positions: 2,
  hiddenState: [1, -2, 0.5, 4],
  pastK: [[5, 6]],
  pastV: [[7, -8]],
} as const;
const events: TokenEvent[] = [
  { type: "token", id: 7, logprob: -0.25, exit: 6 },
  {
    type: "end",
    finish_reason: "stop",
    timings: { queue_ms: 0, prefill_ms: 1, decode_ms: 1 },
    usage: { prompt_tokens: 3, cached_tokens: 2, completion_tokens_by_exit: { 6: 1 } },
  },
];

let worker: Awaited<ReturnType<typeof unstable_startWorker>>;
let server: Server;
let answer: (incoming: IncomingMessage, body: Buffer, response: ServerResponse) => void | Promise<void>;

beforeAll(async () => {
  server = createServer(async (incoming, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of incoming) chunks.push(chunk as Buffer);
    await answer(incoming, Buffer.concat(chunks), response);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const config = new URL("fixtures/origin-client/wrangler.toml", import.meta.url).pathname;
  worker = await unstable_startWorker({
    config,
    dev: { logLevel: "error", watch: false, inspector: false, server: { hostname: "127.0.0.1", port: 0 } },
  });
});

afterAll(async () => {
  await worker.dispose();
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
});

async function order(change: Partial<Order>): Promise<unknown> {
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const whole = { url, secret: SECRET, request, handoff: null, wire: EXACT, readAtMost: 100, ...change };
  const response = await worker.fetch("http://worker/", { method: "POST", body: JSON.stringify(whole) });
  return response.json();
}

const sse = (list: readonly unknown[]): string => list.map((event) => `data: ${JSON.stringify(event)}\n\n`).join("");

describe("origin client in workerd", () => {
  it.each(["F32", "F16"] as const)("signs and sends a handoff in %s, and reads the answer", async (dtype) => {
    const key = await importSecret(SECRET);
    const seen: unknown[] = [];
    answer = async ({ method, url, headers }, body, response) => {
      const signed = { method: method!, path: url!, headers: new Headers(headers as Record<string, string>) };
      seen.push((await verifySignature(key, signed, new NonceStore(undefined, ""), Date.now())).ok);
      const decoded = decodeHandoff(body, {
        fingerprint: handoff.fingerprint,
        numerics: ["w8a8"],
        exits: [1, 6],
        hiddenSize: 2,
        kvSize: 1,
        kvHeads: 1,
        vocabSize: 9,
      }).handoff;
      seen.push([...decoded.hiddenState], [...decoded.pastK[0]!], [...decoded.pastV[0]!]);
      response.writeHead(200, { "content-type": "text/event-stream" }).end(sse(events));
    };
    const order32 = { ...handoff, hiddenState: [...handoff.hiddenState], pastK: [[5, 6]], pastV: [[7, -8]] };
    expect(await order({ handoff: order32, wire: { dtype, kvHeads: 1 } })).toEqual(events);
    expect(seen).toEqual([true, handoff.hiddenState, handoff.pastK[0], handoff.pastV[0]]);
  });

  it("ends the request when its reader breaks off", async () => {
    let gone!: () => void;
    const closed = new Promise<void>((resolve) => (gone = resolve));
    answer = (_incoming, _body, response) => {
      response.writeHead(200, { "content-type": "text/event-stream" }).write(sse([events[0]]));
      const pings = setInterval(() => response.write(": ping\n\n"), 10);
      response.on("close", () => {
        clearInterval(pings);
        gone();
      });
    };
    expect(await order({ readAtMost: 1 })).toEqual([events[0]]);
    await closed;
  });
});
