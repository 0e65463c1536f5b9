/** One tenant's prompts are long to read: nobody else waits for them, and they have their place while they are read. */
import { mkdtemp, rm } from "node:fs/promises";
import { request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { makeCheckpoint } from "../../scripts/bench/stall/long-checkpoint.ts";
import { exportBundle } from "../../scripts/export/bundle.ts";
import { buildGateway, flatPolicy, newTenant, post, startGateway, type Gateway } from "./support/gateway.ts";

/** A second or two of reading while others are here. */
const BOMB = Array.from({ length: 6 }, () => "1234567890".repeat(5_600));
const SMALL_REQUESTS = 20;

let folder: string;
let gateway: Gateway;
let other: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "reading-"));
  const [checkpoint, assets] = [join(folder, "long"), join(folder, "bundle")];
  makeCheckpoint("models/tiny", checkpoint);
  await exportBundle({ checkpoint, out: assets, numerics: "w8a8" });
  gateway = await startGateway(await buildGateway(), { state: join(folder, "state"), originUrl: "", assets });
  other = await newTenant(gateway, "globex", 1_000_000);
});
afterAll(async () => {
  await gateway?.kill();
  await rm(folder, { recursive: true, force: true });
});

/** A tenant without money. @returns a key of it */
async function poorTenant(name: string, rates: object): Promise<string> {
  const all = { requests_per_minute: null, tokens_per_minute: null, concurrent_requests: null, ...rates };
  await gateway.admin.apply(name, { policy: { ...flatPolicy(0), rates: all }, keys: [] });
  return (await gateway.admin.createKey(name, { label: "test" })).key;
}

const ask = (key: string, prompt: string | string[]): Promise<Response> =>
  post(`${gateway.url}/v1/completions`, key, { model: "long", prompt, max_tokens: 1 });

const list = (): Promise<Response> =>
  fetch(`${gateway.url}/v1/models`, { headers: { authorization: `Bearer ${other}` } });

async function codeOf(answer: Response): Promise<[number, string | null]> {
  const { error } = (await answer.json()) as { error: { code: string | null } };
  return [answer.status, error.code];
}

test("another tenant's requests are answered while eight bombs are being read", async () => {
  const key = await poorTenant("eight", { requests_per_minute: 100 });
  await list();
  let read = 0;
  const bombs = Array.from({ length: 8 }, () =>
    ask(key, BOMB)
      .then(codeOf)
      .finally(() => read++),
  );
  for (let asked = 0; asked < SMALL_REQUESTS; asked++) {
    expect((await list()).status).toBe(200);
    expect(read).toBe(0);
  }
  const again = setInterval(() => void list().then((answer) => answer.text()), 5_000);
  expect(await bombs[0]).toEqual([429, "insufficient_quota"]); // it was read, and there is no money
  clearInterval(again);
  await Promise.all(bombs);
}, 120_000);

test("a bomb has its place while it is read: a second one is refused before it is", async () => {
  const key = await poorTenant("one", { concurrent_requests: 1 });
  const keepBusy = setInterval(() => void list().then((answer) => answer.text()), 300);
  let read = false;
  const first = ask(key, BOMB)
    .then(codeOf)
    .finally(() => (read = true));
  await new Promise((resolve) => setTimeout(resolve, 100));
  const [status, code] = await codeOf(await ask(key, "hi"));
  expect([status, code, read]).toEqual([429, "rate_limit_exceeded", false]);
  expect(await first).toEqual([429, "insufficient_quota"]);
  clearInterval(keepBusy);
  expect(await codeOf(await ask(key, "hi"))).toEqual([429, "insufficient_quota"]);
}, 60_000);

test("a client that hangs up while its prompt is read leaves its place, and the reading ends", async () => {
  const key = await poorTenant("gone", { concurrent_requests: 1 });
  const keepBusy = setInterval(() => void list().then((answer) => answer.text()), 300);
  const headers = { authorization: `Bearer ${key}`, "content-type": "application/json" };
  const outgoing = request(`${gateway.url}/v1/completions`, { method: "POST", headers });
  outgoing.on("error", () => undefined);
  outgoing.end(JSON.stringify({ model: "long", prompt: BOMB, max_tokens: 1 }));
  await new Promise((resolve) => setTimeout(resolve, 300));
  expect(await codeOf(await ask(key, "hi"))).toEqual([429, "rate_limit_exceeded"]);
  outgoing.socket?.resetAndDestroy(); // a plain close is not told to a Worker before it writes
  await expect.poll(async () => (await codeOf(await ask(key, "hi")))[1], { timeout: 2_000 }).toBe("insufficient_quota");
  clearInterval(keepBusy);
}, 60_000);

test("requests that are refused for what they say count to the minute, whatever they are refused for", async () => {
  const key = await poorTenant("slow", { requests_per_minute: 5 });
  const url = `${gateway.url}/v1/completions`;
  const refused = [
    { model: "long" },
    { model: "none", prompt: "hi" },
    { prompt: [-1] },
    { model: "long", prompt: "hi" },
    {},
  ];
  for (const body of refused) expect((await codeOf(await post(url, key, body)))[1]).not.toBe("rate_limit_exceeded");
  expect(await codeOf(await ask(key, BOMB))).toEqual([429, "rate_limit_exceeded"]);
});
