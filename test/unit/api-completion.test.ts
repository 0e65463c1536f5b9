/** `POST /v1/completions`, and answers of several choices by either protocol. */
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { completionSchema, toCompletionRequest } from "../../src/api/completion-request.ts";
import { requestError } from "../../src/api/request-error.ts";
import type { TextEvent } from "../../src/conversation.ts";
import { END, finish, MESSAGES, piece, pieceOf, scriptedApp, token } from "./api-flow.ts";

const CHAT = "/v1/chat/completions";
const TEXT = "/v1/completions";
const minimal = { model: "tiny", prompt: "The capital of France is" };

beforeEach(() => void vi.spyOn(console, "info").mockImplementation(() => {}));
afterEach(() => vi.restoreAllMocks());

/** Parsed data of every event; the last must be `[DONE]`. */
async function chunksOf(response: Response) {
  const data = (await response.text()).split("\n\n").slice(0, -1);
  expect(data.pop()).toBe("data: [DONE]");
  return data.map((frame) => JSON.parse(frame.slice("data: ".length)));
}

const accepted = (fields: object) => toCompletionRequest(completionSchema.parse({ ...minimal, ...fields }), "id", 7);

describe("the body of a text completion", () => {
  test.each<[unknown, unknown]>([
    ["a", [{ kind: "text", text: "a" }]],
    ["", [{ kind: "text", text: "" }]],
    [null, [{ kind: "text", text: "" }]],
    [
      ["a", "b"],
      [
        { kind: "text", text: "a" },
        { kind: "text", text: "b" },
      ],
    ],
    [[1, 2], [{ kind: "tokens", ids: [1, 2] }]],
    [
      [[1], [2, 3]],
      [
        { kind: "tokens", ids: [1] },
        { kind: "tokens", ids: [2, 3] },
      ],
    ],
  ])("prompt %j", (prompt, prompts) => expect(accepted({ prompt }).prompts).toEqual(prompts));

  test("defaults are OpenAI's", () => {
    expect(accepted({})).toMatchObject({ maxTokens: 16, choices: 1, stop: [], topLogprobs: null });
    expect(accepted({ logprobs: 0, max_tokens: 3, n: 2, stop: "x" })).toMatchObject({
      maxTokens: 3,
      choices: 2,
      stop: ["x"],
      topLogprobs: 0,
    });
  });

  test("what asks for nothing is accepted", () => {
    const inert = { best_of: 1, echo: false, suffix: null, logit_bias: {}, user: "acme", metadata: { a: "b" } };
    expect(accepted(inert)).toEqual(accepted({}));
  });

  test.each<[string, object, string, string]>([
    ["no prompt", { model: "tiny" }, "prompt", "missing_required_parameter"],
    ["an empty list", { ...minimal, prompt: [] }, "prompt", "empty_array"],
    ["an empty list of ids", { ...minimal, prompt: [[]] }, "prompt[0]", "empty_array"],
    ["a mixed list", { ...minimal, prompt: ["a", 1] }, "prompt[1]", "invalid_type"],
    ["ids that are none", { ...minimal, prompt: [-1] }, "prompt[0]", "integer_below_min_value"],
    ["17 prompts", { ...minimal, prompt: Array(17).fill("a") }, "prompt", "array_above_max_length"],
    ["17 choices over prompts", { ...minimal, prompt: Array(9).fill("a"), n: 2 }, "n", "invalid_value"],
    ["an object", { ...minimal, prompt: {} }, "prompt", "invalid_type"],
    ["echo", { ...minimal, echo: true }, "echo", "unsupported_parameter"],
    ["best_of", { ...minimal, best_of: 2 }, "best_of", "unsupported_parameter"],
    ["suffix", { ...minimal, suffix: "x" }, "suffix", "unsupported_parameter"],
    ["six logprobs", { ...minimal, logprobs: 6 }, "logprobs", "integer_above_max_value"],
    ["chat's logprobs", { ...minimal, logprobs: true }, "logprobs", "invalid_type"],
    ["messages", { ...minimal, messages: [] }, "messages", "unknown_parameter"],
    ["stream_options alone", { ...minimal, stream_options: {} }, "stream_options", "invalid_value"],
  ])("refused by name: %s", (_, body, param, code) => {
    const parsed = completionSchema.safeParse(body);
    expect(parsed.error && requestError(parsed.error, body)).toMatchObject({ status: 400, param, code });
  });
});

describe("a text completion", () => {
  test("whole", async () => {
    const response = await scriptedApp().send(TEXT, { json: minimal });
    expect(await response.json()).toEqual({
      id: expect.stringMatching(/^cmpl-[0-9a-f]{32}$/),
      object: "text_completion",
      created: expect.any(Number),
      model: "tiny",
      choices: [{ index: 0, text: "Paris.", logprobs: null, finish_reason: "stop" }],
      usage: { prompt_tokens: 7, completion_tokens: 3, total_tokens: 10, prompt_tokens_details: { cached_tokens: 4 } },
      system_fingerprint: "0123456789abcdef",
      sortie: {
        exit: 12,
        tier: "origin",
        route: "gate=prefill; reason=hard",
        completion_tokens_by_exit: { 3: 2, 12: 1 },
        cost_usd: "0.001234",
        full_depth_cost_usd: "0.004936",
      },
    });
    expect(response.headers.get("x-sortie-exit")).toBe("12");
    expect(response.headers.get("x-sortie-cost-usd")).toBe("0.001234");
    expect(response.headers.get("x-ratelimit-limit-requests")).toBe("60");
  });

  /** A dash in two tokens, neither of which is text of its own. */
  async function* split(): AsyncGenerator<TextEvent, void> {
    const half = { logprob: -1, exit: 3, top: [] };
    yield piece(token("𝄞"), { text: "", bytes: [0xe2, 0x80], ...half });
    yield piece({ text: "—", bytes: [0x94], ...half });
    yield piece(token("x"));
    yield finish();
    yield END;
  }
  const logprobs = {
    tokens: ["𝄞", "bytes:\\xe2\\x80", "bytes:\\x94", "x"],
    token_logprobs: [-0.5, -1, -1, -0.5],
    top_logprobs: [
      { "\u0001": -0.5, "𝄞": -0.5 },
      { "bytes:\\xe2\\x80": -1 },
      { "bytes:\\x94": -1 },
      { "\u0001": -0.5, x: -0.5 },
    ],
    text_offset: [0, 1, 1, 2],
  };

  test("log-probabilities: parts of characters by their bytes, offsets in characters", async () => {
    const answer = await scriptedApp({ events: split }).send(TEXT, { json: { ...minimal, logprobs: 1 } });
    expect(await answer.json()).toMatchObject({ choices: [{ text: "𝄞—x", logprobs }] });
  });

  test("streamed: text_completion chunks that join to the whole", async () => {
    const json = { ...minimal, logprobs: 1, stream: true, stream_options: { include_usage: true } };
    const chunks = await chunksOf(await scriptedApp({ events: split }).send(TEXT, { json }));
    const bill = chunks.pop();
    expect(bill).toMatchObject({ object: "text_completion", choices: [], usage: { completion_tokens: 3 } });
    for (const chunk of chunks) expect(chunk).toMatchObject({ object: "text_completion", usage: null, id: bill.id });
    const choices = chunks.map((chunk) => chunk.choices[0]);
    expect(choices.map(({ text }) => text)).toEqual(["𝄞", "—", "x", ""]);
    expect(choices.map(({ finish_reason }) => finish_reason)).toEqual([null, null, null, "stop"]);
    for (const key of Object.keys(logprobs) as (keyof typeof logprobs)[]) {
      expect(choices.flatMap((choice) => choice.logprobs?.[key] ?? [])).toEqual(logprobs[key]);
    }
  });
});

describe("several choices", () => {
  async function* two(): AsyncGenerator<TextEvent, void> {
    yield pieceOf(1, token("b1"));
    yield pieceOf(0, token("a1"));
    yield pieceOf(1, token("b2", 12));
    yield finish(1);
    yield pieceOf(0, token("a2"));
    yield finish(0);
    yield { ...END, finishReasons: ["length", "stop"] };
  }

  test.each([
    [CHAT, { model: "tiny", messages: MESSAGES, n: 2 }],
    [TEXT, { ...minimal, n: 2 }],
    [TEXT, { ...minimal, prompt: ["a", "b"] }],
  ])("%s %#: one a index, whole", async (path, json) => {
    const answer = (await (await scriptedApp({ events: two }).send(path, { json })).json()) as {
      choices: { index: number; text?: string; message?: { content: string }; finish_reason: string }[];
      usage: object;
    };
    const seen = answer.choices.map(({ index, text, message, finish_reason }) => [
      index,
      text ?? message?.content,
      finish_reason,
    ]);
    expect(seen).toEqual([
      [0, "a1a2", "length"],
      [1, "b1b2", "stop"],
    ]);
    expect(answer.usage).toMatchObject({ prompt_tokens: 7, completion_tokens: 3 });
  });

  test("a stream names who speaks for each, tells pieces as they come and each end once", async () => {
    const json = { model: "tiny", messages: MESSAGES, n: 2, stream: true, stream_options: { include_sortie: true } };
    const chunks = await chunksOf(await scriptedApp({ events: two }).send(CHAT, { json }));
    const last = chunks.pop();
    const told = chunks.map(({ choices: [choice] }) => [
      choice.index,
      choice.delta.role ?? choice.delta.content ?? choice.finish_reason,
    ]);
    expect(told).toEqual([
      [0, "assistant"],
      [1, "assistant"],
      [1, "b1"],
      [0, "a1"],
      [1, "b2"],
      [1, "stop"],
      [0, "a2"],
      [0, "stop"],
    ]);
    expect(chunks[4].sortie.tokens).toEqual([{ exit: 12, confidence: Math.exp(-0.5) }]);
    expect(chunks[5].sortie).toMatchObject({ exit: 12, tier: "origin" });
    expect(last).toMatchObject({ choices: [], sortie: { exit: 12, cost_usd: "0.001234" } });
  });

  test("offsets of a text's tokens are its own", async () => {
    const json = { ...minimal, n: 2, logprobs: 0, stream: true };
    const chunks = await chunksOf(await scriptedApp({ events: two }).send(TEXT, { json }));
    const offsets = chunks.flatMap(({ choices: [choice] }) =>
      choice.logprobs ? [[choice.index, ...choice.logprobs.text_offset]] : [],
    );
    expect(offsets).toEqual([
      [1, 0],
      [0, 0],
      [1, 2],
      [0, 2],
    ]);
  });
});
