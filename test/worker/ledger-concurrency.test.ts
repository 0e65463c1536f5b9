/** A budget under fire: hundreds of requests at once, clients that leave, an origin that dies. In workerd, over sockets. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import OpenAI from "openai";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import {
  buildGateway,
  budgetOf,
  drained,
  flatPolicy,
  recorded,
  post,
  newTenant,
  startGateway,
  type Gateway,
} from "./support/gateway.ts";
import { AT_ONCE, scriptedOrigin, type ScriptedOrigin } from "./support/scripted-origin.ts";

/** Requests at once. */
const REQUESTS = 500;
/** Of which the budget fits so many. */
const FITTING = 100;
/** Requests that are sent together. */
const WAVE = 50;
const MAX_TOKENS = 6;
const MESSAGES = [{ role: "user", content: "What is the capital of France?" }];

let gateway: Gateway;
let origin: ScriptedOrigin;
let state: string;
/** What a request may cost at the most, and costs when it is answered in full. */
let bound: number;
let tenants = 0;

beforeAll(async () => {
  state = await mkdtemp(join(tmpdir(), "ledger-"));
  origin = await scriptedOrigin();
  gateway = await startGateway(await buildGateway(), { state, originUrl: origin.url });
  const key = await tenant(1_000_000);
  await (await ask(key)).text();
  bound = (await drained(gateway, "t1")).spent;
  expect(bound).toBeGreaterThan(MAX_TOKENS);
});
afterAll(async () => {
  await gateway?.kill();
  await origin?.stop();
  await rm(state, { recursive: true, force: true });
});
beforeEach(() => {
  origin.script = AT_ONCE;
  origin.started = 0;
  origin.sent = 0;
});

/** A fresh tenant and a key of it. */
async function tenant(limitMicroUsd: number): Promise<string> {
  tenants += 1;
  const name = `t${tenants}`;
  return newTenant(gateway, name, limitMicroUsd);
}

function ask(key: string, body: object = {}, signal: AbortSignal | null = null): Promise<Response> {
  return post(
    `${gateway.url}/v1/chat/completions`,
    key,
    { model: "tiny:exit-12", max_tokens: MAX_TOKENS, messages: MESSAGES, ...body },
    signal,
  );
}

async function statuses(answers: readonly Promise<Response>[]): Promise<Record<number, number>> {
  const count: Record<number, number> = {};
  for (const answer of await Promise.all(answers)) {
    count[answer.status] = (count[answer.status] ?? 0) + 1;
    await answer.text();
  }
  return count;
}

test("500 reservations at once on a budget for 100: exactly 100 are granted", async () => {
  await tenant(FITTING * 17);
  const name = `t${tenants}`;
  const ledger = await gateway.tenant(name);
  const { keys } = (await gateway.admin.show(name))!;
  const reserve = (id: number) =>
    ledger.reserve({
      id: `r${id}`,
      requestId: `r${id}`,
      keyId: keys[0]!.id,
      offers: [{ maxExit: 12, maxTokens: 7, tokens: 17, bound: 17 }],
      exitFixed: true,
      leaseMs: 60_000,
    });
  const answers = await Promise.all(Array.from({ length: REQUESTS }, (_, id) => reserve(id)));
  expect(answers.filter(({ ok }) => ok)).toHaveLength(FITTING);
  expect(await budgetOf(gateway, name)).toEqual({ spent: 0, held: FITTING * 17, limit: FITTING * 17 });
  await Promise.all(Array.from({ length: REQUESTS }, (_, id) => ledger.settle(`r${id}`, [])));
  expect(await budgetOf(gateway, name)).toMatchObject({ spent: 0, held: 0 });
});

test("500 requests on a budget for 100: exactly 100 are answered when none settles before all have asked", async () => {
  const key = await tenant(FITTING * bound);
  const name = `t${tenants}`;
  let open!: () => void;
  const barrier = new Promise<void>((resolve) => (open = resolve));
  origin.script = { before: () => barrier, pause: 0 };
  const answers: Promise<Response>[] = [];
  let refused = 0;
  // In waves, each on its way before the next: a busy machine must not take them for an origin that is slow.
  for (let wave = 0; wave < REQUESTS; wave += WAVE) {
    for (let each = 0; each < WAVE; each++) {
      const answer = ask(key);
      answers.push(answer);
      void answer.then(({ status }) => (refused += status === 429 ? 1 : 0));
    }
    for (const deadline = Date.now() + 10_000; refused + origin.started < wave + WAVE && Date.now() < deadline;) {
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  }
  const held = await budgetOf(gateway, name);
  open();
  expect(await statuses(answers)).toEqual({ 200: FITTING, 429: REQUESTS - FITTING });
  expect(held).toEqual({ spent: 0, held: FITTING * bound, limit: FITTING * bound });
  expect(await drained(gateway, name)).toEqual({ spent: FITTING * bound, held: 0, limit: FITTING * bound });
  expect(await recorded(gateway, name)).toEqual({ cost: FITTING * bound, requests: FITTING });
  expect(origin.started).toBe(FITTING);
});

test("without the barrier: what is spent is what was answered, and fits", async () => {
  const key = await tenant(FITTING * bound + 3); // can never be used up exactly
  const name = `t${tenants}`;
  const answers: Promise<Response>[] = [];
  const client = async (): Promise<void> => {
    for (let each = 0; each < REQUESTS / WAVE; each++) {
      const answer = ask(key);
      answers.push(answer);
      await answer;
    }
  };
  await Promise.all(Array.from({ length: WAVE }, client));
  const count = await statuses(answers);
  const budget = await drained(gateway, name);
  const answered = count[200] ?? 0;
  console.log(`without a barrier: ${JSON.stringify(count)}, spent ${budget.spent} of ${budget.limit} micro-dollars`);
  expect(answered).toBe(FITTING); // each answer has its full length, so none gave anything back
  expect(budget.spent).toBe(answered * bound);
  expect(await recorded(gateway, name)).toEqual({ cost: budget.spent, requests: answered });
});

test("half of the clients leave in mid-stream: they pay for what was produced, and the rest is free again", async () => {
  const streams = 60;
  const key = await tenant(streams * 2 * (bound + 100));
  const name = `t${tenants}`;
  origin.script = { before: async () => undefined, pause: 40 };
  await Promise.all(
    Array.from({ length: streams }, async (_, index) => {
      const gone = new AbortController();
      const response = await ask(key, { stream: true, max_tokens: 30 }, gone.signal);
      if (index % 2 === 0) return void (await response.text());
      const reader = response.body!.getReader();
      for (let read = 0; read < 4; read++) await reader.read();
      gone.abort();
    }),
  );
  const { spent: paid } = await drained(gateway, name);
  const prompt = bound - MAX_TOKENS;
  const whole = (streams / 2) * (prompt + 30);
  console.log(`half left: spent ${paid}; those that stayed ${whole}, the origin sent ${origin.sent} tokens`);
  expect(paid).toBeGreaterThanOrEqual(whole + (streams / 2) * (prompt + 1));
  expect(paid).toBeLessThan(streams * (prompt + 30));
  // Nobody pays for a token that was not made.
  expect(paid).toBeLessThanOrEqual(streams * prompt + origin.sent);
  expect((await recorded(gateway, name)).cost).toBe(paid);
});

test("the origin dies midway: answers break off, what was produced is paid, nothing stays held", async () => {
  const streams = 40;
  const key = await tenant(streams * (bound + 100));
  const name = `t${tenants}`;
  origin.script = { before: async () => undefined, pause: 200 };
  let streaming = 0;
  const answers = Array.from({ length: streams }, async () => {
    const response = await ask(key, { stream: true, max_tokens: 100 });
    streaming += 1;
    return response.text();
  });
  for (const deadline = Date.now() + 20_000; streaming < streams && Date.now() < deadline;) {
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  origin.cut();
  const texts = await Promise.all(answers);
  expect(texts.filter((text) => text.includes('"error"') && !text.includes("[DONE]"))).toHaveLength(streams);
  const { spent: paid } = await drained(gateway, name);
  const prompt = bound - MAX_TOKENS;
  console.log(`origin cut: spent ${paid}, ${streams} prompts of ${prompt}, the origin sent ${origin.sent} tokens`);
  expect(paid).toBeGreaterThan(streams * prompt);
  expect(paid).toBeLessThanOrEqual(streams * prompt + origin.sent);
  expect((await recorded(gateway, name)).cost).toBe(paid);
});

test("an SDK that is told to wait comes back when the place is free", async () => {
  tenants += 1;
  const policy = flatPolicy(10_000);
  const rates = { ...policy.rates, concurrent_requests: 1 };
  await gateway.admin.apply(`t${tenants}`, { policy: { ...policy, rates }, keys: [] });
  const { key: apiKey } = await gateway.admin.createKey(`t${tenants}`, { label: "test" });
  let open!: () => void;
  const barrier = new Promise<void>((resolve) => (open = resolve));
  origin.script = { before: () => barrier, pause: 0 };
  const first = ask(apiKey);
  while (origin.started === 0) await new Promise((resolve) => setTimeout(resolve, 10));
  const sent: number[] = [];
  const client = new OpenAI({
    baseURL: `${gateway.url}/v1`,
    apiKey,
    maxRetries: 5,
    fetch: async (input, init) => {
      sent.push(Date.now());
      const response = await fetch(input, init);
      if (response.status === 429) open();
      return response;
    },
  });
  const body = { model: "tiny:exit-12", max_tokens: MAX_TOKENS, messages: [{ role: "user" as const, content: "Hi" }] };
  expect((await client.chat.completions.create(body)).usage?.completion_tokens).toBe(MAX_TOKENS);
  expect((await first).status).toBe(200);
  const [refused = 0, again = 0] = sent;
  expect(again - refused).toBeGreaterThanOrEqual(1_000); // retry-after: 1
});
