/** What the official SDK makes of budgets and rate limits: typed errors, no retry where none helps, patience where it does. */
import OpenAI from "openai";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { adminClient, type AdminClient } from "../../scripts/tenants/admin-client.ts";
import type { Declaration } from "../../src/api/admin-schemas.ts";
import { DEFAULT_PRICES } from "../../src/tenant/pricing.ts";
import { ADMIN_TOKEN, startServer, type RunningServer } from "./support/server.ts";

let server: RunningServer;
let admin: AdminClient;

beforeAll(async () => {
  server = await startServer();
  admin = adminClient(server.url, ADMIN_TOKEN);
}, 200_000);
afterAll(() => server?.stop());

type Policy = Declaration["policy"];
const FREE: Policy = {
  budgets: [],
  rates: { requests_per_minute: null, tokens_per_minute: null, concurrent_requests: null },
  exits: null,
  prices: DEFAULT_PRICES,
};
const budget = (limit: number, change: Partial<Policy["budgets"][number]> = {}): Policy => ({
  ...FREE,
  budgets: [{ name: "daily", period: "day", limit_micro_usd: limit, soft_limits: [], ...change }],
});

/** An SDK's client of a fresh tenant, and how often it has sent. */
async function clientOf(name: string, policy: Policy) {
  await admin.apply(name, { policy, keys: [] });
  const { key } = await admin.createKey(name, { label: "test" });
  const sent: number[] = [];
  const client = new OpenAI({
    baseURL: `${server.url}/v1`,
    apiKey: key,
    maxRetries: 2,
    fetch: (input, init) => {
      sent.push(Date.now());
      return fetch(input, init);
    },
  });
  return { client, sent, key };
}

const QUESTION: OpenAI.ChatCompletionMessageParam[] = [{ role: "user", content: "What is the capital of France?" }];
const greedy = { model: "tiny", messages: QUESTION, temperature: 0, max_tokens: 20 };

async function refusal(asking: Promise<unknown>): Promise<InstanceType<typeof OpenAI.RateLimitError>> {
  const error: unknown = await asking.then(
    () => null,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(OpenAI.RateLimitError);
  return error as InstanceType<typeof OpenAI.RateLimitError>;
}

test("a spent budget is insufficient_quota, and is not tried again", async () => {
  const { client, sent, key } = await clientOf("broke", budget(2));
  const error = await refusal(client.chat.completions.create(greedy));
  expect(error).toMatchObject({ status: 429, code: "insufficient_quota", type: "insufficient_quota" });
  expect(error.message).toContain("'daily'");
  expect(sent).toHaveLength(1);
  const raw = await fetch(`${server.url}/v1/chat/completions`, {
    method: "POST",
    headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
    body: JSON.stringify(greedy),
  });
  expect(await raw.json()).toMatchObject({
    budget: { name: "daily", limit_usd: "0.000002", spent_usd: "0.000000", held_usd: "0.000000" },
  });
});

test("a rate limit is rate_limit_exceeded with retry-after", async () => {
  const { client, sent } = await clientOf("hasty", {
    ...FREE,
    rates: { requests_per_minute: 1, tokens_per_minute: null, concurrent_requests: null },
  });
  const { response } = await client.chat.completions.create(greedy).withResponse();
  expect(response.headers.get("x-ratelimit-limit-requests")).toBe("1");
  expect(response.headers.get("x-ratelimit-remaining-requests")).toBe("0");
  const error = await refusal(client.chat.completions.create(greedy, { maxRetries: 0 }));
  expect(error).toMatchObject({ status: 429, code: "rate_limit_exceeded", type: "rate_limit_error" });
  const seconds = Number(error.headers?.get("retry-after"));
  expect(seconds).toBeGreaterThan(0);
  expect(seconds).toBeLessThanOrEqual(60);
  expect(sent).toHaveLength(2);
});

test("a request larger than the tokens of a minute is not tried again", async () => {
  const { client, sent } = await clientOf("short", {
    ...FREE,
    rates: { requests_per_minute: null, tokens_per_minute: 10, concurrent_requests: null },
  });
  expect(await refusal(client.chat.completions.create(greedy))).toMatchObject({ code: "rate_limit_exceeded" });
  expect(sent).toHaveLength(1);
});

describe("near the limit", () => {
  const soft = { soft_limits: [{ share: 0, max_exit: 3 }] };

  test("the router's requests are answered by a shallower exit, and the route says so", async () => {
    const { client } = await clientOf("thrifty", budget(100_000, soft));
    const { response } = await client.chat.completions
      .create({ ...greedy, messages: [{ role: "user", content: "What is 17 plus 25 minus 9 plus 4 minus 6?" }] })
      .withResponse();
    expect(response.headers.get("x-sortie-exit")).toBe("3");
    expect(response.headers.get("x-sortie-route")).toContain("budget=daily; max_exit=3");
  });

  test("a deeper exit that was named is refused", async () => {
    const { client, sent } = await clientOf("named", budget(100_000, soft));
    const error = await refusal(client.chat.completions.create({ ...greedy, model: "tiny:exit-12" }));
    expect(error).toMatchObject({ code: "insufficient_quota" });
    expect(error.message).toContain("no exit deeper than 3");
    expect(sent).toHaveLength(1);
  });

  test("a length that was left open is shortened to what is left, one that was set is not", async () => {
    const { client } = await clientOf("brief", budget(12));
    const { max_tokens: _, ...open } = greedy;
    const { data, response } = await client.chat.completions.create(open).withResponse();
    expect(data.choices[0]?.message.content).not.toBe("");
    expect(response.headers.get("x-sortie-route")).toMatch(/budget=daily; max_exit=3; max_tokens=\d+/);
    await refusal(client.chat.completions.create({ ...greedy, max_tokens: 500 }));
  });
});

test("a key may only use its exits: 403", async () => {
  await admin.apply("shallow", { policy: { ...FREE, exits: [3, 6] }, keys: [] });
  const limits = { exits: [6, 12], budget_share: null, requests_per_minute: null };
  const { key } = await admin.createKey("shallow", { label: "test", limits });
  const client = new OpenAI({ baseURL: `${server.url}/v1`, apiKey: key });
  await expect(client.chat.completions.create({ ...greedy, model: "tiny:exit-12" })).rejects.toBeInstanceOf(
    OpenAI.PermissionDeniedError,
  );
  const { response } = await client.chat.completions.create(greedy).withResponse();
  expect(response.headers.get("x-sortie-exit")).toBe("6");
});

test("what an answer says it costs is what the usage says", async () => {
  const { client, key } = await clientOf("auditor", budget(1_000_000));
  const costs: number[] = [];
  for (const model of ["tiny:exit-3", "tiny:exit-12"]) {
    const { response } = await client.chat.completions.create({ ...greedy, model }).withResponse();
    costs.push(Number(response.headers.get("x-sortie-cost-usd")));
  }
  const headers = { authorization: `Bearer ${key}` };
  const usage = await (await fetch(`${server.url}/v1/usage`, { headers })).json();
  expect(usage).toMatchObject({
    tenant: "auditor",
    data: [
      { exit: 3, tier: "edge" },
      { exit: 12, tier: "origin" },
    ],
  });
  const { total_cost_usd: total } = usage as { total_cost_usd: string };
  expect(Number(total)).toBeCloseTo(
    costs.reduce((sum, cost) => sum + cost, 0),
    9,
  );
  expect(Number(total)).toBeGreaterThan(0);
  const csv = await (await fetch(`${server.url}/v1/usage?format=csv`, { headers })).text();
  expect(csv.split("\r\n")).toHaveLength(4);
});

test("several choices and prompts are one bill: each prompt once, in chat and text, whole and streamed", async () => {
  const { client, key } = await clientOf("several", budget(1_000_000));
  const chat = { ...greedy, model: "tiny:exit-6", n: 3 };
  const text = { model: "tiny:exit-6", prompt: ["The capital of France is", "Once upon a time"], n: 2, max_tokens: 8 };
  const costs: string[] = [];
  const bill = async (asking: { withResponse(): Promise<{ data: object; response: Response }> }) => {
    const { data, response } = await asking.withResponse();
    const { sortie } = data as { sortie: { cost_usd: string } };
    expect(response.headers.get("x-sortie-cost-usd")).toBe(sortie.cost_usd);
    costs.push(sortie.cost_usd);
  };
  await bill(client.chat.completions.create(chat));
  await bill(client.completions.create(text));
  const streamed = { stream: true as const, stream_options: { include_usage: true, include_sortie: true } };
  const last = async (stream: AsyncIterable<object>) => (await Array.fromAsync(stream)).at(-1) as { sortie: never };
  const anew = { headers: { "cache-control": "no-cache" } }; // an answer that is remembered costs less
  const chatEnd = await last(await client.chat.completions.create({ ...chat, ...streamed }, anew));
  const textEnd = await last(await client.completions.create({ ...text, ...streamed, seed: 1 }));
  costs.push(...[chatEnd, textEnd].map(({ sortie }: { sortie: { cost_usd: string } }) => sortie.cost_usd));
  expect(costs[2]).toBe(costs[0]); // greedy: the same answer, the same bill
  const alone = await client.chat.completions.create({ ...chat, n: 1 });
  const { sortie } = alone as unknown as { sortie: { cost_usd: string } };
  expect(Number(costs[0])).toBeLessThan(3 * Number(sortie.cost_usd));
  const usage = await fetch(`${server.url}/v1/usage`, { headers: { authorization: `Bearer ${key}` } });
  const { total_cost_usd: total, data } = (await usage.json()) as { total_cost_usd: string; data: object[] };
  const sum = [...costs, sortie.cost_usd].reduce((before, cost) => before + Math.round(Number(cost) * 1e6), 0);
  expect(Math.round(Number(total) * 1e6)).toBe(sum);
  expect(data).toMatchObject([{ exit: 6, tier: "edge", requests: 5 }]);
});

test("several choices that do not fit together are refused, one that fits is not", async () => {
  const { client } = await clientOf("modest", budget(20));
  const fits = { ...greedy, model: "tiny:exit-3", max_tokens: 40 };
  await client.chat.completions.create(fits);
  expect(await refusal(client.chat.completions.create({ ...fits, n: 16 }))).toMatchObject({
    code: "insufficient_quota",
  });
});

test("a key is rolled over with an overlap, and revoked at once", async () => {
  const { key: first } = await clientOf("roller", FREE);
  const status = async (key: string) =>
    (await fetch(`${server.url}/v1/models`, { headers: { authorization: `Bearer ${key}` } })).status;
  const old = (await admin.show("roller"))?.keys[0]?.id ?? "";
  const next = await admin.createKey("roller", { label: "next", replaces: old, overlap_seconds: 600 });
  expect([await status(first), await status(next.key)]).toEqual([200, 200]);
  const last = await admin.createKey("roller", { label: "last", replaces: next.id });
  expect([await status(next.key), await status(last.key)]).toEqual([401, 200]);
  await admin.revokeKey("roller", old);
  expect(await status(first)).toBe(401);
  await admin.close("roller");
  expect(await status(last.key)).toBe(401);
});
