/** The official `openai` npm SDK, unmodified, against the running project. */
import OpenAI from "openai";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { DEMO_KEY, startServer, type RunningServer } from "./support/server.ts";

let server: RunningServer;
let client: OpenAI;

beforeAll(async () => {
  server = await startServer();
  client = new OpenAI({ baseURL: `${server.url}/v1`, apiKey: DEMO_KEY });
}, 200_000);
afterAll(() => server?.stop());

type Fields = Partial<OpenAI.ChatCompletionCreateParamsNonStreaming>;
const QUESTION: OpenAI.ChatCompletionMessageParam[] = [{ role: "user", content: "What is the capital of France?" }];
const greedy = { model: "tiny:exit-6", messages: QUESTION, temperature: 0, max_tokens: 32 };

/**
 * Hot, and the end token, which stands in every prompt, penalised away: the model rambles. Of a few seeds, the one
 * whose answer is longest.
 */
const RAMBLE = {
  messages: [{ role: "user" as const, content: "Tell me a story." }],
  temperature: 2,
  repetition_penalty: 10,
  max_tokens: 600,
};
const RAMBLE_SEEDS = [1, 2, 3];
const rambles = new Map<string, Promise<{ seed: number; tokens: number; text: string }>>();

function longRamble(model: string) {
  const found = rambles.get(model) ?? findRamble(model);
  rambles.set(model, found);
  return found;
}

async function findRamble(model: string) {
  let longest = { seed: 0, tokens: 0, text: "" };
  for (const seed of RAMBLE_SEEDS) {
    const { usage, choices } = await client.chat.completions.create({ ...RAMBLE, model, seed });
    const tokens = usage?.completion_tokens ?? 0;
    if (tokens > longest.tokens) longest = { seed, tokens, text: choices[0]?.message.content ?? "" };
  }
  return longest;
}

/** Answers the edge is making right now. */
async function activeAtEdge(): Promise<number> {
  const health = (await (await fetch(`${server.url}/healthz`)).json()) as { edge: { active: number } };
  return health.edge.active;
}

/** The typed error of a request that must fail. */
async function refusal(fields: Fields, with_ = client): Promise<InstanceType<typeof OpenAI.APIError>> {
  try {
    await with_.chat.completions.create({ ...greedy, ...fields });
  } catch (error) {
    if (error instanceof OpenAI.APIError) return error;
    throw error;
  }
  throw new Error("the request was accepted");
}

describe("models", () => {
  test("are listed and retrieved", async () => {
    const ids: string[] = [];
    for await (const model of client.models.list()) ids.push(model.id);
    expect(ids.slice(0, 2)).toEqual(["tiny", "tiny:auto"]);
    expect(ids).toContain("tiny:exit-12");
    expect(await client.models.retrieve("tiny:exit-3")).toMatchObject({ id: "tiny:exit-3", object: "model" });
    await expect(client.models.retrieve("gpt-4")).rejects.toBeInstanceOf(OpenAI.NotFoundError);
  });
});

describe("whole answers", () => {
  test("the router's choice", async () => {
    const { data, response, request_id } = await client.chat.completions
      .create({ model: "tiny", messages: QUESTION })
      .withResponse();
    expect(data).toMatchObject({ object: "chat.completion", model: "tiny" });
    expect(data.system_fingerprint).toMatch(/^[0-9a-f]{16}$/);
    expect(data.choices[0]?.message.role).toBe("assistant");
    expect(data.usage?.total_tokens).toBe((data.usage?.prompt_tokens ?? 0) + (data.usage?.completion_tokens ?? 0));
    expect(request_id).toBe(response.headers.get("x-request-id"));
    expect(response.headers.get("x-sortie-tier")).toMatch(/^(edge|origin)$/);
    expect(response.headers.get("x-sortie-exit")).toMatch(/^(3|6|9|12)$/);
    expect(response.headers.get("x-sortie-route")).toMatch(/^gate=/);
  });

  test.each([
    [3, "edge"],
    [6, "edge"],
    [9, "origin"],
    [12, "origin"],
  ])("exit %i on the %s", async (exit, tier) => {
    const request = { ...greedy, model: `tiny:exit-${exit}`, max_tokens: 4 };
    const { response } = await client.chat.completions.create(request).withResponse();
    expect(response.headers.get("x-sortie-exit")).toBe(String(exit));
    expect(response.headers.get("x-sortie-tier")).toBe(tier);
  });

  test("max_tokens is kept, and says so", async () => {
    const { seed } = await longRamble("tiny:exit-6");
    const answer = await client.chat.completions.create({ ...RAMBLE, model: "tiny:exit-6", seed, max_tokens: 5 });
    expect(answer.choices[0]?.finish_reason).toBe("length");
    expect(answer.usage?.completion_tokens).toBe(5);
  });

  test.each(["tiny:exit-6", "tiny:exit-12"])("the same seed gives the same tokens at %s", async (model) => {
    const { seed, text } = await longRamble(model);
    const again = await client.chat.completions.create({ ...RAMBLE, model, seed });
    expect(again.choices[0]?.message.content).toBe(text);
  });

  test("a stop sequence ends the answer before it", async () => {
    const { seed, text } = await longRamble("tiny:exit-6");
    const stop = text.slice(20, 26);
    const answer = await client.chat.completions.create({
      ...RAMBLE,
      model: "tiny:exit-6",
      seed,
      stop: ["\u0000", stop],
    });
    expect(answer.choices[0]?.finish_reason).toBe("stop");
    expect(answer.choices[0]?.message.content).toBe(text.slice(0, text.indexOf(stop)));
  });

  test("log-probabilities: bytes join to the text, the best is first", async () => {
    const { choices } = await client.chat.completions.create({ ...greedy, logprobs: true, top_logprobs: 3 });
    const content = choices[0]?.logprobs?.content ?? [];
    const bytes = content.flatMap((token) => token.bytes ?? []);
    expect(new TextDecoder().decode(new Uint8Array(bytes))).toBe(choices[0]?.message.content);
    for (const token of content) {
      expect(token.top_logprobs).toHaveLength(3);
      expect(token.top_logprobs[0]?.logprob).toBeCloseTo(token.logprob, 5); // greedy
    }
  });

  test("an answer can be sent back as a turn", async () => {
    const first = await client.chat.completions.create(greedy);
    const answer = first.choices[0]?.message;
    if (!answer) throw new Error("no answer");
    const developer = { role: "developer" as const, content: [{ type: "text" as const, text: "Be brief." }] };
    const messages = [developer, ...QUESTION, answer, ...QUESTION];
    const second = await client.chat.completions.create({ ...greedy, messages });
    expect(second.usage?.prompt_tokens).toBeGreaterThan(first.usage?.prompt_tokens ?? Infinity);
  });
});

describe("streams", () => {
  test.each(["tiny:exit-6", "tiny:exit-12"])("the pieces join to the whole answer at %s", async (model) => {
    const { seed, text, tokens } = await longRamble(model);
    const stream = await client.chat.completions.create({
      ...RAMBLE,
      model,
      seed,
      stream: true,
      stream_options: { include_usage: true },
    });
    const chunks: OpenAI.ChatCompletionChunk[] = [];
    for await (const chunk of stream) chunks.push(chunk);
    expect(chunks[0]?.choices[0]?.delta.role).toBe("assistant");
    expect(chunks.map((chunk) => chunk.choices[0]?.delta.content ?? "").join("")).toBe(text);
    expect(chunks.at(-2)?.choices[0]?.finish_reason).toMatch(/^(stop|length)$/);
    expect(chunks.at(-1)).toMatchObject({ choices: [], usage: { completion_tokens: tokens } });
    expect(new Set(chunks.map(({ id, created }) => `${id} ${created}`)).size).toBe(1);
    expect(chunks.length).toBeGreaterThan(tokens / 2); // it streams, it does not gather
  });

  test("the SDK's stream helper assembles the same answer", async () => {
    const helper = client.chat.completions.stream(greedy);
    const whole = await client.chat.completions.create(greedy);
    expect((await helper.finalChatCompletion()).choices[0]?.message.content).toBe(whole.choices[0]?.message.content);
  });

  test.each(["tiny:exit-6", "tiny:exit-12"])("an abort in mid-stream stops the work at %s", async (model) => {
    const { seed, tokens } = await longRamble(model);
    expect(tokens).toBeGreaterThan(40);
    const { data: stream, response } = await client.chat.completions
      .create({ ...RAMBLE, model, seed, stream: true })
      .withResponse();
    let seen = 0;
    for await (const chunk of stream) {
      if (chunk.choices[0]?.delta.content && ++seen === 5) stream.controller.abort();
    }
    expect(seen).toBeLessThan(tokens);
    const entry = await server.logged("chat.cancelled", response.headers.get("x-request-id") ?? "");
    const sent = Object.values(entry["tokens_by_exit"] as Record<string, number>).reduce(
      (sum, count) => sum + count,
      0,
    );
    expect(sent).toBeLessThan(tokens / 2);
    await expect.poll(activeAtEdge).toBe(0);
  });
});

/** Text by choice of a stream. */
async function joined<T>(
  stream: AsyncIterable<{ choices: (T & { index: number })[] }>,
  textOf: (choice: T) => string | null | undefined,
): Promise<string[]> {
  const texts: string[] = [];
  for await (const { choices } of stream) {
    for (const choice of choices) texts[choice.index] = (texts[choice.index] ?? "") + (textOf(choice) ?? "");
  }
  return texts;
}

describe("several choices", () => {
  test.each(["tiny:exit-6", "tiny:exit-12"])("whole and streamed at %s", async (model) => {
    const request = { ...RAMBLE, model, n: 3, seed: 7, max_tokens: 12 };
    const whole = await client.chat.completions.create(request);
    expect(whole.choices.map(({ index }) => index)).toEqual([0, 1, 2]);
    const texts = whole.choices.map(({ message }) => message.content);
    expect(new Set(texts).size).toBeGreaterThan(1);
    const stream = await client.chat.completions.create({ ...request, stream: true });
    expect(await joined(stream, ({ delta }) => delta.content)).toEqual(texts);
    const alone = await client.chat.completions.create({ ...request, n: 1 });
    expect(alone.choices[0]?.message.content).toBe(texts[0]);
  });

  test("as many as there may be wait their turn, and all stop when the client goes", async () => {
    const { seed } = await longRamble("tiny:exit-6");
    const request = { ...RAMBLE, model: "tiny:exit-6", n: 16, seed, stream: true as const };
    const stream = await client.chat.completions.create(request);
    const seen = new Set<number>();
    for await (const chunk of stream) {
      const [choice] = chunk.choices;
      if (choice?.delta.content) seen.add(choice.index);
      if (seen.size === 2) stream.controller.abort();
    }
    expect(seen.size).toBe(2);
    await expect.poll(activeAtEdge).toBe(0);
  });
});

describe("text completions", () => {
  const request = { model: "tiny:exit-6", prompt: "The capital of France is", temperature: 0, max_tokens: 6 };

  test("whole and streamed, with log-probabilities", async () => {
    const whole = await client.completions.create({ ...request, logprobs: 2 });
    expect(whole).toMatchObject({ object: "text_completion", choices: [{ index: 0 }] });
    const [choice] = whole.choices;
    expect(choice?.logprobs?.tokens?.join("")).toBe(choice?.text);
    expect(choice?.logprobs?.token_logprobs).toHaveLength(whole.usage?.completion_tokens ?? -1);
    const stream = await client.completions.create({ ...request, stream: true });
    expect(await joined(stream, ({ text }) => text)).toEqual([choice?.text]);
  });

  test("of several prompts, and of token ids", async () => {
    const prompt = [request.prompt, "Once upon a time"];
    const both = await client.completions.create({ ...request, prompt });
    expect(both.choices.map(({ index }) => index)).toEqual([0, 1]);
    const ids = await client.completions.create({ ...request, prompt: [1, 4, 50, 51, 2, 5] });
    expect(ids.usage?.prompt_tokens).toBe(6);
  });

  test("a prompt that is too long", async () => {
    const error: unknown = await client.completions
      .create({ ...request, prompt: "What is what? ".repeat(2_000) })
      .catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(OpenAI.BadRequestError);
    expect(error).toMatchObject({ code: "context_length_exceeded", param: "prompt" });
  });
});

describe("typed errors", () => {
  test("bad JSON", async () => {
    const response = await fetch(`${server.url}/v1/chat/completions`, {
      method: "POST",
      headers: { authorization: `Bearer ${DEMO_KEY}`, "content-type": "application/json" },
      body: '{"model": "tiny", "messages": [',
    });
    expect(response.status).toBe(400);
    const { error } = (await response.json()) as { error: object };
    expect(error).toMatchObject({ type: "invalid_request_error", param: null });
  });

  test("unknown model, unknown exit", async () => {
    for (const model of ["gpt-4", "tiny:exit-5", "tiny:deep"]) {
      const error = await refusal({ model });
      expect(error).toBeInstanceOf(OpenAI.NotFoundError);
      expect(error).toMatchObject({ status: 404, code: "model_not_found", param: "model" });
    }
  });

  test("empty messages", async () => {
    const error = await refusal({ messages: [] });
    expect(error).toBeInstanceOf(OpenAI.BadRequestError);
    expect(error).toMatchObject({ type: "invalid_request_error", param: "messages", code: "empty_array" });
  });

  test("a prompt that is too long", async () => {
    const error = await refusal({ messages: [{ role: "user", content: "What is what? ".repeat(2_000) }] });
    expect(error).toBeInstanceOf(OpenAI.BadRequestError);
    expect(error).toMatchObject({ code: "context_length_exceeded", param: "messages" });
  });

  test("negative max_tokens", async () => {
    const error = await refusal({ max_tokens: -1 });
    expect(error).toBeInstanceOf(OpenAI.BadRequestError);
    expect(error).toMatchObject({ param: "max_tokens", code: "integer_below_min_value" });
  });

  test("a parameter that is not supported", async () => {
    const tools = [{ type: "function" as const, function: { name: "f" } }];
    expect(await refusal({ tools })).toMatchObject({ status: 400, param: "tools", code: "unsupported_parameter" });
  });

  test("a wrong key", async () => {
    const stranger = new OpenAI({ baseURL: `${server.url}/v1`, apiKey: "sk-sortie-demo-wrong" });
    const error = await refusal({}, stranger);
    expect(error).toBeInstanceOf(OpenAI.AuthenticationError);
    expect(error).toMatchObject({ status: 401, code: "invalid_api_key" });
    expect(error.message).not.toContain("sk-sortie");
  });

  test("a body over the limit", async () => {
    const error = await refusal({ messages: [{ role: "user", content: "x".repeat(1024 * 1024) }] });
    expect(error).toMatchObject({ status: 413, code: "body_too_large" });
    expect(error.requestID).toBeTruthy();
  });
});
