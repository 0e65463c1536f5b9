/** What is left after a crash, and what made-up keys leave behind. In workerd, its storage on disk. */
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { sha256 } from "../../src/tenant/keys.ts";
import {
  buildGateway,
  budgetOf,
  drained,
  flatPolicy,
  recorded,
  newTenant,
  post,
  startGateway,
  type Gateway,
} from "./support/gateway.ts";
import { scriptedOrigin, type ScriptedOrigin } from "./support/scripted-origin.ts";

const LEASE_SECONDS = 3;
const MAX_TOKENS = 500;
const MESSAGES = [{ role: "user", content: "What is the capital of France?" }];
/** Requests with keys that nobody has: a tenth of what the promise was checked with, for speed. */
const MADE_UP = Number(process.env["SORTIE_MADE_UP_KEYS"] ?? 1_000);
/** Clients that send them. */
const CLIENTS = 100;

let modules: Awaited<ReturnType<typeof buildGateway>>;
let origin: ScriptedOrigin;
let state: string;
let gateway: Gateway | null = null;

beforeAll(async () => {
  state = await mkdtemp(join(tmpdir(), "ledger-"));
  origin = await scriptedOrigin();
  modules = await buildGateway();
});
afterEach(async () => {
  await gateway?.kill();
  gateway = null;
});
afterAll(async () => {
  await origin?.stop();
  await rm(state, { recursive: true, force: true });
});

const start = async (): Promise<Gateway> => {
  gateway = await startGateway(modules, { state, originUrl: origin.url, leaseSeconds: LEASE_SECONDS });
  return gateway;
};

function ask(url: string, key: string, body: object = {}, signal: AbortSignal | null = null): Promise<Response> {
  return post(
    `${url}/v1/chat/completions`,
    key,
    { model: "tiny:exit-12", max_tokens: MAX_TOKENS, messages: MESSAGES, ...body },
    signal,
  );
}

test("a crash between reserve and settle: the hold expires, and is charged what was metered", async () => {
  const first = await start();
  const key = await newTenant(first, "acme", 10_000);
  origin.script = { before: async () => undefined, pause: 20 };
  const response = await ask(first.url, key, { stream: true });
  const reader = response.body!.getReader();
  // Long enough for renewals: past the first lease.
  for (const until = Date.now() + LEASE_SECONDS * 1_200; Date.now() < until;) await reader.read();
  const held = await budgetOf(first, "acme");
  const bound = held.held;
  expect(held).toEqual({ spent: 0, held: bound, limit: 10_000 });
  expect(bound).toBeGreaterThan(MAX_TOKENS);
  await first.kill();
  await reader.cancel().catch(() => undefined);
  const produced = origin.sent;

  const second = await start();
  const after = await drained(second, "acme");
  const prompt = bound - MAX_TOKENS;
  console.log(`crash: held ${bound}, charged ${after.spent} of at most ${prompt + produced} micro-dollars`);
  expect(after.spent).toBeGreaterThan(prompt); // renewals had metered tokens
  expect(after.spent).toBeLessThanOrEqual(prompt + produced);
  expect(await recorded(second, "acme")).toEqual({ cost: after.spent, requests: 1 });
  origin.script = { before: async () => undefined, pause: 0 };
  expect((await ask(second.url, key, { max_tokens: 1 })).status).toBe(200); // the key is still a key
});

test("an answer whose key is revoked stops, and pays for what it has", async () => {
  const { url, admin } = await start();
  await admin.apply("revoked", { policy: flatPolicy(10_000), keys: [] });
  const { key, id } = await admin.createKey("revoked", { label: "test" });
  origin.script = { before: async () => undefined, pause: 20 };
  const response = await ask(url, key, { stream: true });
  const reader = response.body!.getReader();
  await reader.read();
  await admin.revokeKey("revoked", id);
  expect((await ask(url, key)).status).toBe(401); // at once
  let text = "";
  for (let read = await reader.read(); !read.done; read = await reader.read())
    text += Buffer.from(read.value).toString();
  expect(text).toContain("answer_interrupted");
  const { spent } = await drained(gateway!, "revoked");
  expect(spent).toBeGreaterThan(0);
  expect(spent).toBeLessThan(MAX_TOKENS);
});

test("a renewed lease outlasts itself", async () => {
  const { url, admin } = await start();
  await admin.apply("long", { policy: flatPolicy(10_000), keys: [] });
  const { key } = await admin.createKey("long", { label: "test" });
  const tokens = 60;
  origin.script = { before: async () => undefined, pause: (LEASE_SECONDS * 2_000) / tokens };
  const response = await ask(url, key, { max_tokens: tokens });
  expect(response.status).toBe(200);
  const { usage } = (await response.json()) as { usage: { total_tokens: number } };
  expect(response.headers.get("x-sortie-cost-usd")).toBe(`0.0000${usage.total_tokens}`);
  expect((await drained(gateway!, "long")).spent).toBe(usage.total_tokens);
});

test("applying again changes nothing; a key that left the file is revoked and stays so", async () => {
  const { url, admin } = await start();
  const limits = { exits: null, budget_share: null, requests_per_minute: null };
  const secret = "s3cret";
  const key = { label: "web", secret_sha256: await sha256(secret), expires_at: null, limits };
  const policy = flatPolicy(10_000);
  const status = async () =>
    (await fetch(`${url}/v1/models`, { headers: { authorization: `Bearer sk-sortie-file-${secret}` } })).status;
  expect(await admin.apply("file", { policy, keys: [key] })).toMatchObject({ changed: true });
  expect(await admin.apply("file", { policy, keys: [key] })).toMatchObject({ changed: false });
  expect(await status()).toBe(200);
  expect(await admin.apply("file", { policy, keys: [] })).toMatchObject({ changed: true });
  expect(await status()).toBe(401);
  await admin.apply("file", { policy, keys: [key] });
  expect(await status()).toBe(401);
});

test("closing revokes: a key that comes back with the file stays refused, however it was made", async () => {
  const { url, admin } = await start();
  const limits = { exits: null, budget_share: null, requests_per_minute: null };
  const leaked = { label: "leaked", secret_sha256: await sha256("leaked"), expires_at: null, limits };
  const policy = flatPolicy(10_000);
  await admin.apply("closed", { policy, keys: [leaked] });
  const { key: made } = await admin.createKey("closed", { label: "made" });
  const statuses = () =>
    Promise.all(
      ["sk-sortie-closed-leaked", made].map(async (key) => {
        return (await fetch(`${url}/v1/models`, { headers: { authorization: `Bearer ${key}` } })).status;
      }),
    );
  expect(await statuses()).toEqual([200, 200]);
  await admin.close("closed");
  expect(await statuses()).toEqual([401, 401]);
  const fresh = { ...leaked, label: "fresh", secret_sha256: await sha256("fresh") };
  const applied = await admin.apply("closed", { policy, keys: [leaked, fresh] });
  expect(applied).toMatchObject({ changed: true, revoked_keys: ["leaked"] });
  expect(await statuses()).toEqual([401, 401]);
  const headers = { authorization: "Bearer sk-sortie-closed-fresh" };
  expect((await fetch(`${url}/v1/models`, { headers })).status).toBe(200);
});

test("a key that is past already, and limits that nobody can meet, are refused", async () => {
  const { admin } = await start();
  const policy = flatPolicy(10_000);
  const limits = { exits: null, budget_share: null, requests_per_minute: null };
  const expired = { label: "old", secret_sha256: await sha256("old"), expires_at: "2020-01-01T00:00:00Z", limits };
  await expect(admin.apply("limits", { policy, keys: [expired] })).rejects.toThrow("expires_at");
  await expect(admin.apply("limits", { policy: { ...policy, max_exit: 7 }, keys: [] })).rejects.toThrow(
    "exit 7 does not exist; the model's exits are 3, 6, 9, 12",
  );
  await admin.apply("limits", { policy, keys: [] });
  await expect(admin.createKey("limits", { label: "x", expires_at: "2020-01-01T00:00:00Z" })).rejects.toThrow("past");
  await expect(admin.createKey("limits", { label: "x", limits: { ...limits, exits: [4] } })).rejects.toThrow("exit 4");
  await expect(admin.createKey("limits", { label: "a\u001b[31m" })).rejects.toThrow("control characters");
});

test("made-up tenants and keys leave nothing behind, and look alike", async () => {
  const { url, admin } = await start();
  await admin.apply("known", { policy: flatPolicy(10_000), keys: [] });
  const send = async (key: string): Promise<void> => {
    const response = await fetch(`${url}/v1/models`, { headers: { authorization: `Bearer ${key}` } });
    expect(response.status).toBe(401);
    await response.arrayBuffer();
  };
  await send("sk-sortie-known-wrong");
  const before = await databases();
  const tenants = await admin.list();
  const known = await admin.show("known");
  const client = async (_: unknown, number: number): Promise<void> => {
    for (let each = number; each < MADE_UP; each += CLIENTS) {
      await send(each % 2 === 0 ? `sk-sortie-made-up-${each}-secret` : `sk-sortie-known-${each}`);
    }
  };
  await Promise.all(Array.from({ length: CLIENTS }, client));
  expect(await databases()).toEqual(before);
  expect(await admin.list()).toEqual(tenants);
  expect(await admin.show("known")).toEqual(known);
});

/** Every database on disk; their journals come and go. */
async function databases(): Promise<string[]> {
  return (await readdir(state, { recursive: true })).filter((name) => name.endsWith(".sqlite")).toSorted();
}
