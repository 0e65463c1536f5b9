/** Both caches as tenants see them: the built Worker in workerd, with the embedded origin. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { z } from "zod";
import { OriginUnderTest } from "../contract/origin-harness.ts";
import { buildGateway, budgetOf, drained, newTenant, startGateway, type Gateway } from "./support/gateway.ts";

const LIMIT = 1e12;
const answerSchema = z.object({
  choices: z.array(z.object({ text: z.string() })),
  usage: z.object({
    prompt_tokens: z.number(),
    completion_tokens: z.number(),
    prompt_tokens_details: z.object({ cached_tokens: z.number() }),
  }),
});

let modules: Awaited<ReturnType<typeof buildGateway>>;
let gateway: Gateway;
let origin: OriginUnderTest;
let state: string;
beforeAll(async () => {
  state = await mkdtemp(join(tmpdir(), "caches-"));
  origin = await OriginUnderTest.startEmbedded();
  modules = await buildGateway();
  gateway = await start();
});
/** State moves whatever the link is: what is tested is what then happens. */
const start = (variables: Record<string, string> = { HANDOFFS: "always" }) =>
  startGateway(modules, { state, originUrl: origin.url, originSecret: origin.secret, variables });
afterAll(async () => {
  await gateway?.kill();
  await origin?.stop();
  await rm(state, { recursive: true, force: true });
});

async function tenant(name: string): Promise<string> {
  return newTenant(gateway, name, LIMIT);
}

function send(key: string, body: object, headers: Record<string, string> = {}, signal: AbortSignal | null = null) {
  return fetch(`${gateway.url}/v1/completions`, {
    method: "POST",
    headers: { authorization: `Bearer ${key}`, "content-type": "application/json", ...headers },
    body: JSON.stringify({ model: "tiny:exit-3", max_tokens: 8, ...body }),
    signal,
  });
}

async function ask(key: string, body: object, headers: Record<string, string> = {}) {
  const response = await send(key, body, headers);
  expect(response.status).toBe(200);
  const { choices, usage } = answerSchema.parse(await response.json());
  return {
    text: choices[0]?.text,
    cached: usage.prompt_tokens_details.cached_tokens,
    made: usage.completion_tokens,
    cache: response.headers.get("x-sortie-cache"),
    microUsd: Math.round(Number(response.headers.get("x-sortie-cost-usd")) * 1e6),
  };
}

/** Token ids of no meaning, 100 of them. */
const prompt = (kind: number) => [1, ...Array.from({ length: 99 }, (_, at) => 100 + ((at * 31 + kind * 17) % 900))];
/** Greedy, and never told from the response cache. */
const COLD = { "cache-control": "no-store" };

describe("the prefix cache", () => {
  test.each([3, 6, 9, 12])(
    "exit %i: a second turn finds the first one's blocks, and pays for them as cached",
    async (exit) => {
      const model = `tiny:exit-${exit}`;
      const [acme, umbrella] = [await tenant(`acme-${exit}`), await tenant(`umbrella-${exit}`)];
      const first = await ask(acme, { model, prompt: prompt(exit), temperature: 0 }, COLD);
      expect(first.cached).toBe(0);
      const again = await ask(acme, { model, prompt: prompt(exit), temperature: 0 }, COLD);
      expect(again).toMatchObject({ text: first.text, cached: 96, cache: null });
      const longer = [...prompt(exit), ...prompt(exit + 1).slice(1, 40)];
      const next = await ask(acme, { model, prompt: longer, temperature: 0 }, COLD);
      expect(next.cached).toBe(96);
      const other = await ask(umbrella, { model, prompt: longer, temperature: 0 }, COLD);
      expect(other).toMatchObject({ text: next.text, cached: 0 }); // of another tenant, nothing
    },
  );

  test("a shallow exit's blocks serve a deeper one, and the answer is the deeper one's own", async () => {
    const [acme, umbrella] = [await tenant("acme-deeper"), await tenant("umbrella-deeper")];
    await ask(acme, { model: "tiny:exit-3", prompt: prompt(40), temperature: 0 }, COLD);
    const deeper = await ask(acme, { model: "tiny:exit-6", prompt: prompt(40), temperature: 0 }, COLD);
    const cold = await ask(umbrella, { model: "tiny:exit-6", prompt: prompt(40), temperature: 0 }, COLD);
    expect(deeper).toEqual(cold); // not all layers were there: it is not billed as cached
  });

  test("a prefix that was met twice outlives its shard, in R2, and goes with a purge", async () => {
    const key = await tenant("acme-archived");
    const body = { prompt: [...prompt(55), ...prompt(56)].slice(0, 170), temperature: 0 };
    const first = await ask(key, body, COLD);
    expect((await ask(key, body, COLD)).cached).toBe(160);
    await new Promise((resolve) => setTimeout(resolve, 500)); // written in the background
    await gateway.kill();
    gateway = await start();
    expect(await ask(key, body, COLD)).toMatchObject({ text: first.text, cached: 128 }); // four blocks are an object
    await gateway.admin.purge("acme-archived");
    await gateway.kill();
    gateway = await start();
    expect(await ask(key, body, COLD)).toMatchObject({ text: first.text, cached: 0 });
  });

  test("choices of one prompt share its blocks", async () => {
    const key = await tenant("acme-choices");
    const body = { prompt: prompt(50), n: 4, temperature: 1, seed: 3 };
    const several = await ask(key, body, COLD);
    expect(several.cached).toBe(0); // the first choice read it
    expect((await ask(key, body, COLD)).cached).toBe(96);
  });
});

describe("between the tiers", () => {
  const question = (at: number) =>
    `Number ${at}: a fox, a lamp and a forest are there, and a map with many ways that one may take. What is the way?`;
  const answered = z.object({
    choices: z.array(z.object({ message: z.object({ content: z.string() }) })),
    usage: answerSchema.shape.usage,
  });
  type Said = { role: string; content: string };
  async function chat(key: string, model: string, messages: readonly Said[]) {
    const response = await fetch(`${gateway.url}/v1/chat/completions`, {
      method: "POST",
      headers: { authorization: `Bearer ${key}`, "content-type": "application/json", ...COLD },
      body: JSON.stringify({ model, messages, temperature: 0, max_tokens: 40 }),
    });
    expect(response.status).toBe(200);
    const { choices, usage } = answered.parse(await response.json());
    return { content: choices[0]?.message.content ?? "", usage };
  }

  test("after turns at the origin the edge fetches its layers' blocks, and answers as if it had computed them", async () => {
    const [acme, umbrella] = [await tenant("acme-back"), await tenant("umbrella-back")];
    let messages: Said[] = [];
    for (let turn = 0; turn < 3; turn++) {
      messages = [...messages, { role: "user", content: `${question(turn)} ${question(turn + 10)}` }];
      const { content } = await chat(acme, "tiny:exit-12", messages);
      messages = [...messages, { role: "assistant", content }];
    }
    messages = [...messages, { role: "user", content: "And then?" }];
    const edge = await chat(acme, "tiny:exit-6", messages);
    const { prompt_tokens: tokens, prompt_tokens_details: details } = edge.usage;
    expect(tokens).toBeGreaterThan(128);
    expect(details.cached_tokens).toBeGreaterThanOrEqual(tokens - 64); // all but the last turns' half-filled block
    const cold = await chat(umbrella, "tiny:exit-6", messages);
    expect(cold.usage.prompt_tokens_details.cached_tokens).toBe(0);
    expect(edge.content).toBe(cold.content);
  });

  const handoffs = () => origin.metric("sortie_origin_handoffs_total");

  test("a conversation of the edge's that turns out hard is resumed by the origin from the shard's blocks, for the same bill", async () => {
    const [acme, umbrella] = [await tenant("acme-forth"), await tenant("umbrella-forth")];
    const first: Said[] = [{ role: "user", content: `${question(20)} ${question(21)}` }];
    const { content } = await chat(acme, "tiny:exit-6", first);
    const messages = [...first, { role: "assistant", content }, { role: "user", content: question(22) }];
    const before = await handoffs();
    const hard = await chat(acme, "tiny:exit-12", messages);
    expect((await handoffs()) - before).toBe(1);
    const cold = await chat(umbrella, "tiny:exit-12", messages); // no shard knows it: it goes as token ids
    expect(hard).toEqual(cold);
    expect(hard.usage.prompt_tokens_details.cached_tokens).toBe(0); // the deeper layers were computed
    const [again, coldAgain] = [
      await chat(acme, "tiny:exit-12", messages),
      await chat(umbrella, "tiny:exit-12", messages),
    ];
    expect((await handoffs()) - before).toBe(1); // the origin has it by now
    expect(again).toEqual(coldAgain);
    expect(again.usage.prompt_tokens_details.cached_tokens).toBeGreaterThanOrEqual(96);
    expect(await drained(gateway, "acme-forth")).toMatchObject({ held: 0 });
  });

  test("a handoff that is not allowed is not made", async () => {
    await gateway.kill();
    gateway = await start({ HANDOFFS: "never" });
    const acme = await tenant("acme-never");
    const first: Said[] = [{ role: "user", content: `${question(30)} ${question(31)}` }];
    const { content } = await chat(acme, "tiny:exit-6", first);
    const before = await handoffs();
    await chat(acme, "tiny:exit-12", [
      ...first,
      { role: "assistant", content },
      { role: "user", content: "And then?" },
    ]);
    expect((await handoffs()) - before).toBe(0);
    await gateway.kill();
    gateway = await start();
  });
});

describe("the response cache", () => {
  const body = { prompt: prompt(60), temperature: 0 };

  test("a second request is told the first one's answer, for the hit's price; another tenant is not", async () => {
    const [acme, umbrella] = [await tenant("acme-hit"), await tenant("umbrella-hit")];
    const first = await ask(acme, body);
    expect(first).toMatchObject({ cache: "miss", cached: 0, microUsd: 100 + first.made });
    const hit = await ask(acme, body);
    expect(hit).toMatchObject({ text: first.text, made: first.made, cache: "hit", cached: 100 });
    expect(hit.microUsd).toBe(Math.ceil((100 + first.made) / 10));
    expect((await ask(umbrella, body)).cache).toBe("miss");
    expect(await drained(gateway, "acme-hit")).toMatchObject({ spent: first.microUsd + hit.microUsd, held: 0 });
  });

  test("and every block go when the operator purges the tenant", async () => {
    const key = await tenant("acme-purged");
    const body = { prompt: prompt(90), temperature: 0 };
    await ask(key, body, COLD);
    await ask(key, body);
    expect(await ask(key, body)).toMatchObject({ cache: "hit" });
    expect((await ask(key, body, COLD)).cached).toBe(96);
    expect(await gateway.admin.purge("acme-purged")).toBe(1);
    expect((await ask(key, body, COLD)).cached).toBe(0);
    expect((await ask(key, body)).cache).toBe("miss");
    await expect(gateway.admin.purge("nobody")).rejects.toThrow("nobody");
  });

  test("cache-control is honoured: no-cache computes and stores, no-store does neither", async () => {
    const key = await tenant("acme-control");
    expect((await ask(key, body, { "cache-control": "no-store" })).cache).toBeNull();
    expect((await ask(key, body)).cache).toBe("miss");
    expect((await ask(key, body, { "cache-control": "max-age=60, no-cache" })).cache).toBe("miss");
    expect((await ask(key, body)).cache).toBe("hit");
    expect((await ask(key, { ...body, temperature: 1 })).cache).toBeNull(); // not deterministic
    expect((await ask(key, { ...body, max_tokens: 7 })).cache).toBe("miss"); // another request
  });

  test("a stream is told as a stream, to its last byte", async () => {
    const key = await tenant("acme-stream");
    const stream = { ...body, stream: true, stream_options: { include_usage: true } };
    const texts = async () => {
      const response = await send(key, stream);
      const lines = (await response.text()).split("\n").filter((line) => line.startsWith("data: {"));
      const chunks = lines.map((line) => JSON.parse(line.slice(6)) as { choices: { text: string }[] });
      const cache = response.headers.get("x-sortie-cache");
      return { cache, texts: chunks.flatMap(({ choices }) => choices.map(({ text }) => text)) };
    };
    const first = await texts();
    expect(first.cache).toBe("miss");
    expect(await texts()).toEqual({ cache: "hit", texts: first.texts });
  });

  test("200 at once: one is computed, all are answered, every budget is right", async () => {
    const key = await tenant("acme-many");
    const many = { prompt: prompt(70), temperature: 0, max_tokens: 24 };
    const edge = async () => {
      const health = (await (await fetch(`${gateway.url}/healthz`)).json()) as { edge: { decoded_tokens: number } };
      return health.edge.decoded_tokens;
    };
    const before = await edge();
    const answers = await Promise.all(Array.from({ length: 200 }, () => ask(key, many)));
    expect(new Set(answers.map(({ text }) => text)).size).toBe(1);
    const computed = answers.filter(({ cache }) => cache === "miss");
    expect(computed).toHaveLength(1);
    const made = answers[0]!.made;
    expect((await edge()) - before).toBe(made);
    const full = 100 + made;
    expect(await drained(gateway, "acme-many")).toMatchObject({ spent: full + 199 * Math.ceil(full / 10), held: 0 });
  });

  test("when the one who computes leaves, another goes on: the answer is whole, and paid by who had it computed", async () => {
    const key = await tenant("acme-left");
    const long = { prompt: prompt(80), temperature: 0, max_tokens: 200, stream: true };
    const gone = new AbortController();
    const leader = await send(key, long, {}, gone.signal);
    const reader = leader.body!.getReader();
    await reader.read();
    const followers = Array.from({ length: 5 }, () => send(key, long));
    const joined = await Promise.all(followers);
    gone.abort();
    const texts = await Promise.all(joined.map((response) => response.text()));
    const said = texts.map((text) =>
      text
        .split("\n")
        .filter((line) => line.startsWith("data: {"))
        .map((line) => (JSON.parse(line.slice(6)) as { choices: { text: string }[] }).choices[0]?.text)
        .join(""),
    );
    const alone = await ask(key, { ...long, stream: false }, COLD);
    expect(said).toEqual(joined.map(() => alone.text));
    expect((await budgetOf(gateway, "acme-left")).spent).toBeGreaterThan(0);
    await drained(gateway, "acme-left");
  });
});
