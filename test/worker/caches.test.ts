/** Both caches as tenants see them: the built Worker in workerd, with the embedded origin. */
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { z } from "zod";
import { bundleSchema } from "../../src/model/bundle.ts";
import { BUNDLE, OriginUnderTest } from "../contract/origin-harness.ts";
import { buildGateway, drained, newTenant, startGateway, type Gateway } from "./support/gateway.ts";

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
/** Objects that share the edge's conversations; locally all of them share one isolate, and so its memory. */
const SHARDS = 4;
/** A system prompt that the operator has marked as everybody's. */
const MARKED = "You are a guide in a land of foxes, lamps and forests. ".repeat(12).trim();
/** State moves whatever the link is: what is tested is what then happens. */
const start = (handoffs = "always") => {
  const variables = {
    HANDOFFS: handoffs,
    EDGE_SHARDS: String(SHARDS),
    SHARED_SYSTEM_PROMPTS: createHash("sha256").update(MARKED).digest("hex"),
  };
  return startGateway(modules, { state, originUrl: origin.url, originSecret: origin.secret, variables });
};
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

/** Tokens that each shard has decoded since it woke. */
const decoded = () => gateway.decodedByShard(SHARDS);
/** And all of them since then: one that fell asleep meanwhile counts from nothing. */
async function decodedSince(before: readonly number[]): Promise<number> {
  const since = (await decoded()).map((tokens, shard) => tokens - (tokens < before[shard]! ? 0 : before[shard]!));
  return since.reduce((sum, tokens) => sum + tokens, 0);
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
    const before = (await gateway.traffic())["blocks"] ?? {};
    expect(await ask(key, body, COLD)).toMatchObject({ text: first.text, cached: 128 }); // four blocks are an object
    await expect
      .poll(async () => {
        const { blocks = {}, block_bytes: bytes = {} } = await gateway.traffic();
        const since = (label: string) => (blocks[label] ?? 0) - (before[label] ?? 0);
        return [since("asked"), since("memory"), since("archive"), (bytes["archive"] ?? 0) > 0];
      })
      .toEqual([5, 0, 4, true]);
    await gateway.admin.purge("acme-archived");
    await gateway.kill();
    gateway = await start();
    expect(await ask(key, body, COLD)).toMatchObject({ text: first.text, cached: 0 });
  });

  test("of several shards, each conversation has one", async () => {
    const key = await tenant("acme-shards");
    const used = new Set<number>();
    for (let at = 0; at < 12; at++) {
      const first = prompt(200 + at);
      const before = await decoded();
      // Hot: greedy answers to such prompts mostly end at once.
      await ask(key, { prompt: first, temperature: 2, seed: at, max_tokens: 4 }, COLD);
      const longer = [...first, ...prompt(300)].slice(0, 150);
      const next = await ask(key, { prompt: longer, temperature: 2, seed: at, max_tokens: 4 }, COLD);
      const after = await decoded();
      const own = after.flatMap((decoded, shard) => (decoded > before[shard]! ? [shard] : []));
      expect(own.length).toBeLessThanOrEqual(1); // an answer that ends at once decodes nothing
      expect(next.cached).toBe(96);
      for (const shard of own) used.add(shard);
    }
    expect(used.size).toBeGreaterThan(2);
  });

  test("a system prompt that the operator has marked is everybody's, and outlives a purge", async () => {
    const [acme, umbrella] = [await tenant("acme-marked"), await tenant("umbrella-marked")];
    const asking = async (key: string, content: string, user: string) => {
      const messages = [
        { role: "system", content },
        { role: "user", content: user },
      ];
      const { prompt_tokens: tokens, prompt_tokens_details: details } = (await chat(key, "tiny:exit-3", messages))
        .usage;
      return { tokens, cached: details.cached_tokens };
    };
    expect((await asking(acme, MARKED, "Where is the fox?")).cached).toBe(0);
    const { tokens, cached } = await asking(umbrella, MARKED, "Who has the lamp?");
    expect([cached >= 96, cached % 32, cached < tokens]).toEqual([true, 0, true]);
    await gateway.admin.purge("acme-marked");
    expect((await asking(acme, MARKED, "Who has the lamp?")).cached).toBe(cached);
    const other = `${MARKED} And you are brief.`;
    await asking(acme, other, "Where is the fox?");
    expect((await asking(umbrella, other, "Where is the fox?")).cached).toBe(0);
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
    const before = await decoded();
    const answers = await Promise.all(Array.from({ length: 200 }, () => ask(key, many)));
    expect(new Set(answers.map(({ text }) => text)).size).toBe(1);
    const computed = answers.filter(({ cache }) => cache === "miss");
    expect(computed).toHaveLength(1);
    const made = answers[0]!.made;
    expect(await decodedSince(before)).toBe(made);
    const full = 100 + made;
    expect(await drained(gateway, "acme-many")).toMatchObject({ spent: full + 199 * Math.ceil(full / 10), held: 0 });
  });

  /** A request whose answer takes a while: hot, and the end tokens, which stand in the prompt, penalised away. */
  async function aLongOne(key: string) {
    const { eos_token_ids: eos } = bundleSchema.parse(JSON.parse(readFileSync(join(BUNDLE, "bundle.json"), "utf8")));
    for (let seed = 1; seed < 40; seed++) {
      const hot = { temperature: 2, repetition_penalty: 10, seed };
      const long = { prompt: [...prompt(80), ...eos], max_tokens: 400, stream: true, ...hot };
      const alone = await ask(key, { ...long, stream: false }, COLD);
      if (alone.made === long.max_tokens) return { long, alone };
    }
    throw new Error("no seed gave a long answer");
  }
  /** The text of a stream. */
  const said = (stream: string) =>
    stream
      .split("\n")
      .filter((line) => line.startsWith("data: {"))
      .map((line) => (JSON.parse(line.slice(6)) as { choices: { text: string }[] }).choices[0]?.text)
      .join("");

  test("when the client of the one who computes leaves, it goes on for those who read along, and nothing is computed twice", async () => {
    const key = await tenant("acme-left");
    const { long, alone } = await aLongOne(await tenant("umbrella-left"));
    const before = await decoded();
    const gone = new AbortController();
    const leader = await send(key, long, {}, gone.signal);
    const reader = leader.body!.getReader();
    await reader.read();
    const joined = await Promise.all(Array.from({ length: 5 }, () => send(key, long)));
    expect(joined.map((response) => response.headers.get("x-sortie-cache"))).toEqual(joined.map(() => "hit"));
    gone.abort();
    const texts = await Promise.all(joined.map((response) => response.text()));
    const computed = await decodedSince(before);
    const { spent } = await drained(gateway, "acme-left");
    expect(texts.map(said)).toEqual(joined.map(() => alone.text));
    expect(computed).toBe(alone.made);
    const full = long.prompt.length + alone.made;
    expect(spent).toBe(full + joined.length * Math.ceil(full / 10)); // the leader's client pays what it had begun
    expect(await ask(key, { ...long, stream: false })).toMatchObject({ cache: "hit", text: alone.text });
  });

  test("an answer that is computed anew beside it is not told to those who read along", async () => {
    const { long, alone } = await aLongOne(await tenant("umbrella-beside"));
    const key = await tenant("acme-beside");
    const leader = await send(key, long);
    const [follower, anew] = await Promise.all([send(key, long), send(key, long, { "cache-control": "no-cache" })]);
    const headers = [leader, follower, anew].map((response) => response.headers.get("x-sortie-cache"));
    expect(headers).toEqual(["miss", "hit", "miss"]);
    const texts = await Promise.all([leader, follower, anew].map(async (response) => said(await response.text())));
    expect(texts).toEqual([alone.text, alone.text, alone.text]);
  });

  test("when all of them leave, it ends", async () => {
    const key = await tenant("acme-all-left");
    const { long } = await aLongOne(await tenant("umbrella-all-left"));
    const gone = new AbortController();
    const leader = await send(key, long, {}, gone.signal);
    await leader.body!.getReader().read();
    const before = await decoded();
    const followers = await Promise.all([send(key, long, {}, gone.signal), send(key, long, {}, gone.signal)]);
    await Promise.all(followers.map((response) => response.body!.getReader().read()));
    gone.abort();
    await drained(gateway, "acme-all-left");
    const [then, computed] = [await decoded(), await decodedSince(before)];
    await new Promise((resolve) => setTimeout(resolve, 500));
    expect(await decodedSince(then)).toBe(0);
    expect(computed).toBeLessThan(long.max_tokens / 2);
  });
});

describe("another runtime, which has nothing in memory and may not move state", () => {
  const first: Said[] = [{ role: "user", content: `${question(30)} ${question(31)}` }];
  let [key, before]: [string, Awaited<ReturnType<typeof chat>> | null] = ["", null];
  beforeAll(async () => {
    key = await tenant("acme-lost");
    before = await chat(key, "tiny:exit-6", first);
    await gateway.kill();
    gateway = await start("never");
  });

  test("computes anew what the lost shard held, and answers the same", async () => {
    const again = await chat(key, "tiny:exit-6", first);
    expect(again).toEqual(before);
    expect(again.usage.prompt_tokens_details.cached_tokens).toBe(0);
  });

  test("sends the origin token ids", async () => {
    const handoffs = await origin.metric("sortie_origin_handoffs_total");
    const said = { role: "assistant", content: before?.content ?? "" };
    await chat(key, "tiny:exit-12", [...first, said, { role: "user", content: question(32) }]);
    expect(await origin.metric("sortie_origin_handoffs_total")).toBe(handoffs);
  });
});
