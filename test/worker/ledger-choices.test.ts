/** Several prompts and choices of one request, one hold: under fire in workerd, to the end and left in mid-stream. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import {
  buildGateway,
  budgetOf,
  drained,
  recorded,
  post,
  newTenant,
  startGateway,
  type Gateway,
} from "./support/gateway.ts";
import { AT_ONCE, scriptedOrigin, type ScriptedOrigin } from "./support/scripted-origin.ts";

const REQUESTS = 60;
/** Of which the budget fits so many. */
const FITTING = 10;
const MAX_TOKENS = 5;
const CHOICES = 3;
/** Token ids, two prompts: five tokens that are paid once each. */
const PROMPT = [
  [1, 4, 50],
  [1, 4],
];
/** A token costs a micro-dollar at every exit. */
const BOUND = 5 + PROMPT.length * CHOICES * MAX_TOKENS;

let gateway: Gateway;
let origin: ScriptedOrigin;
let state: string;

beforeAll(async () => {
  state = await mkdtemp(join(tmpdir(), "ledger-"));
  origin = await scriptedOrigin();
  gateway = await startGateway(await buildGateway(), { state, originUrl: origin.url });
});
afterAll(async () => {
  await gateway?.kill();
  await origin?.stop();
  await rm(state, { recursive: true, force: true });
});

async function tenant(name: string, limitMicroUsd: number): Promise<string> {
  return newTenant(gateway, name, limitMicroUsd);
}

function ask(key: string, body: object = {}, signal: AbortSignal | null = null): Promise<Response> {
  return post(
    `${gateway.url}/v1/completions`,
    key,
    { model: "tiny:exit-12", prompt: PROMPT, n: CHOICES, max_tokens: MAX_TOKENS, ...body },
    signal,
  );
}

test("one hold for all of them; as many requests are answered as fit, each for its bound", async () => {
  const key = await tenant("whole", FITTING * BOUND);
  origin.script = AT_ONCE;
  const answers = await Promise.all(Array.from({ length: REQUESTS }, () => ask(key)));
  const answered = answers.filter(({ status }) => status === 200);
  const costs = answered.map(({ headers }) => Number(headers.get("x-sortie-cost-usd")));
  await Promise.all(answers.map((answer) => answer.text()));
  expect(answered).toHaveLength(FITTING);
  for (const cost of costs) expect(cost).toBe(BOUND / 1e6);
  expect(await drained(gateway, "whole")).toEqual({ spent: FITTING * BOUND, held: 0, limit: FITTING * BOUND });
  expect(await recorded(gateway, "whole")).toEqual({ cost: FITTING * BOUND, requests: FITTING });
});

test("half of the clients leave in mid-stream: what was made is paid, within the holds, and nothing stays held", async () => {
  const streams = 20;
  const long = 5 + PROMPT.length * CHOICES * 30;
  const key = await tenant("left", streams * long);
  origin.script = { before: async () => undefined, pause: 30 };
  origin.sent = 0;
  await Promise.all(
    Array.from({ length: streams }, async (_, index) => {
      const gone = new AbortController();
      const response = await ask(key, { stream: true, max_tokens: 30 }, gone.signal);
      if (index % 2 === 0) return void (await response.text());
      const reader = response.body!.getReader();
      for (let read = 0; read < 5; read++) await reader.read();
      gone.abort();
    }),
  );
  const { spent } = await drained(gateway, "left");
  expect(spent).toBeGreaterThanOrEqual((streams / 2) * (long + 3));
  expect(spent).toBeLessThan(streams * long);
  expect(spent).toBeLessThanOrEqual(streams * 5 + origin.sent); // nobody pays for a token that was not made
  expect((await recorded(gateway, "left")).cost).toBe(spent);
  expect((await budgetOf(gateway, "left")).held).toBe(0);
});
