/** `GET /v1/blocks`, both sides: signed, bounded, conditional, and believed only whole. */
import { expect, test } from "vitest";
import { ApiError } from "../../src/errors.ts";
import type { BlockName } from "../../src/model/node-protocol.ts";
import { askBlocks } from "../../src/origin/blocks-client.ts";
import { MAX_BLOCKS } from "../../src/origin/protocol.ts";
import { answerBlocks } from "../../src/origin/server-blocks.ts";
import type { OriginEngine } from "../../src/origin/server-app.ts";
import { readSigned } from "../../src/origin/server-requests.ts";
import { importSecret, NonceStore } from "../../src/origin/signing.ts";

const SECRET = "a secret of some length";
const never = new AbortController().signal;
const key = (at: number): string => at.toString(16).padStart(64, "0");
const name = (at: number): string => `acme/0/${key(at)}`;

/** An origin that holds the first `held` blocks of both segments up to exit 6. */
function origin(held: number, change: (response: Response) => Response | Promise<Response> = (same) => same) {
  const asked: BlockName[][] = [];
  const engine = {
    exits: [3, 6, 12],
    async blocks(names: readonly BlockName[]) {
      asked.push([...names]);
      const until = names.findIndex(({ key: each }) => Number.parseInt(each, 16) >= held);
      return names.slice(0, until === -1 ? names.length : until).map(({ key: each, lastLayer }) => {
        return Uint8Array.of(Number.parseInt(each.slice(-2), 16), lastLayer);
      });
    },
  } as unknown as OriginEngine;
  const nonces = new NonceStore();
  async function send(url: unknown, init?: RequestInit): Promise<Response> {
    const request = new Request(url as string, init);
    const secret = await importSecret(SECRET);
    try {
      await readSigned(request, secret, nonces);
      return await change(await answerBlocks(request, secret, engine));
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      return Response.json(error.toBody(), { status: error.status, headers: error.headers });
    }
  }
  return { asked, send: send as typeof fetch };
}

const ask = (at: ReturnType<typeof origin>, names: readonly string[], held: string | null = null, secret = SECRET) =>
  askBlocks({ url: "http://origin.local", secret, fetch: at.send }, { exit: 6, names, held }, never);

test("the leading blocks that are held, block by block and segment by segment", async () => {
  const at = origin(2);
  expect(await ask(at, [name(0), name(1), name(2)])).toEqual(Uint8Array.of(0, 3, 0, 6, 1, 3, 1, 6));
  expect(at.asked[0]).toHaveLength(6); // no layer beyond the exit
});

test("nothing, where nothing is held; with what the asker holds it is 304", async () => {
  const statuses: number[] = [];
  const at = origin(1, (response) => (statuses.push(response.status), response));
  expect(await ask(at, [name(1)], key(0))).toBeNull();
  expect(statuses).toEqual([304]);
  expect(await ask(at, [name(5)])).toBeNull(); // 404
});

test("an answer that was changed on the way, or is another request's, is thrown away whole", async () => {
  const change = (how: (bytes: Uint8Array<ArrayBuffer>) => Uint8Array<ArrayBuffer>) =>
    origin(2, async (response) => new Response(how(new Uint8Array(await response.arrayBuffer())), response));
  await expect(
    ask(
      change((bytes) => bytes.map((byte) => byte ^ 1)),
      [name(0)],
    ),
  ).rejects.toThrow("not signed");
  await expect(
    ask(
      change((bytes) => bytes.slice(1)),
      [name(0)],
    ),
  ).rejects.toThrow("not signed");
  let first: Response | null = null;
  const replaying = origin(2, (response) => (first ??= response.clone()).clone());
  expect(await ask(replaying, [name(0)])).not.toBeNull();
  await expect(ask(replaying, [name(0)])).rejects.toThrow("not signed"); // signed for another nonce
});

test("whoever does not sign is refused, and so are questions out of bounds", async () => {
  const at = origin(9);
  await expect(ask(at, [name(0)], null, "another secret, as long")).rejects.toThrow("401");
  for (const wrong of ["acme/0", `../${key(0)}`, `acme/0/${key(0)}/3`, `Acme/0/${key(0)}`]) {
    await expect(ask(at, [wrong])).rejects.toThrow("400");
  }
  const many = Array.from({ length: MAX_BLOCKS + 5 }, (_, each) => name(each % 9));
  expect((await ask(at, many))?.length).toBe(MAX_BLOCKS * 4); // it asks for no more than it may
  await expect(
    askBlocks(
      { url: "http://origin.local", secret: SECRET, fetch: at.send },
      { exit: 4, names: [name(0)], held: null },
      never,
    ),
  ).rejects.toThrow("400");
});
