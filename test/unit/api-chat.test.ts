import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import type { TextEvent } from "../../src/conversation.ts";
import { END, finish, MESSAGES, piece, scriptedApp, token } from "./api-flow.ts";

const CHAT = "/v1/chat/completions";
const chatBody = { model: "tiny", messages: MESSAGES };
const streamBody = { ...chatBody, stream: true };

interface Choices {
  choices: [{ message: { content: string }; logprobs: { content: unknown[] } }];
}

const lines: string[] = [];
beforeEach(() => {
  lines.length = 0;
  for (const level of ["info", "error"] as const) {
    vi.spyOn(console, level).mockImplementation((line: string) => void lines.push(line));
  }
});
afterEach(() => vi.restoreAllMocks());

const logged = (event: string) => lines.map((line) => JSON.parse(line)).filter((entry) => entry.event === event);

/** The data of every event, parsed; `[DONE]` as it is. */
async function events(response: Response) {
  const frames = (await response.text()).split("\n\n").slice(0, -1);
  return frames.map((frame) => {
    expect(frame.startsWith("data: ")).toBe(true);
    const data = frame.slice("data: ".length);
    return data === "[DONE]" ? data : JSON.parse(data);
  });
}

describe("a whole answer", () => {
  test("is a chat.completion with usage and fingerprint", async () => {
    const response = await scriptedApp().send(CHAT, { json: chatBody });
    expect(response.status).toBe(200);
    const body = (await response.json()) as { created: number };
    expect(body).toEqual({
      id: expect.stringMatching(/^chatcmpl-[0-9a-f]{32}$/),
      object: "chat.completion",
      created: expect.any(Number),
      model: "tiny",
      choices: [
        {
          index: 0,
          message: { role: "assistant", content: "Paris.", refusal: null },
          logprobs: null,
          finish_reason: "stop",
        },
      ],
      usage: {
        prompt_tokens: 7,
        completion_tokens: 3,
        total_tokens: 10,
        prompt_tokens_details: { cached_tokens: 4 },
      },
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
    expect(Math.abs(body.created - Date.now() / 1000)).toBeLessThan(5);
  });

  test("its headers state the last decision", async () => {
    const { headers } = await scriptedApp().send(CHAT, { json: chatBody });
    expect(headers.get("x-sortie-exit")).toBe("12");
    expect(headers.get("x-sortie-tier")).toBe("origin");
    expect(headers.get("x-sortie-route")).toBe("gate=prefill; reason=hard");
    expect(headers.get("x-sortie-cost-usd")).toBe("0.001234");
    expect(headers.get("x-ratelimit-limit-requests")).toBe("60");
  });

  test("log-probabilities when asked", async () => {
    const response = await scriptedApp().send(CHAT, { json: { ...chatBody, logprobs: true, top_logprobs: 1 } });
    const { choices } = (await response.json()) as { choices: { logprobs: { content: unknown[] } }[] };
    expect(choices[0]?.logprobs.content).toHaveLength(3);
    expect(choices[0]?.logprobs.content[0]).toEqual({
      token: "Par",
      logprob: -0.5,
      bytes: [80, 97, 114],
      top_logprobs: [{ token: "Par", logprob: -0.5, bytes: [1] }],
    });
  });

  test("is logged once, without a word of it", async () => {
    await scriptedApp().send(CHAT, { json: chatBody, headers: { "x-request-id": "r-1" } });
    expect(logged("chat.completed")).toHaveLength(1);
    expect(logged("chat.completed")[0]).toMatchObject({
      request_id: "r-1",
      "gen_ai.usage.input_tokens": 7,
      "gen_ai.usage.output_tokens": 3,
      tokens_by_exit: { 3: 2, 12: 1 },
      tenant: "demo",
      key_id: "key_1",
      cost_micro_usd: 1_234,
      first_exit: 3,
      exit: 12,
      prefill_ms: 2,
    });
    expect(lines.join()).not.toMatch(/Par|capital/);
  });

  test("that breaks is an error, not half an answer", async () => {
    async function* broken(): AsyncGenerator<TextEvent, void> {
      yield piece(token("Par"));
      throw new Error("tier fell over");
    }
    const response = await scriptedApp({ events: broken }).send(CHAT, { json: chatBody });
    expect(response.status).toBe(500);
    expect(logged("chat.failed")[0]).toMatchObject({ tokens_by_exit: { 3: 1 }, tenant: "demo", cost_micro_usd: 1_234 });
  });

  test("without a seed gets one of its own each time, with one keeps it", async () => {
    const { send, asked } = scriptedApp();
    for (const fields of [{}, {}, { seed: 5 }]) await send(CHAT, { json: { ...chatBody, ...fields } });
    const seeds = asked.map(({ sampling }) => sampling.seed);
    expect(seeds[2]).toBe(5);
    expect(seeds[0]).not.toBe(seeds[1]);
  });
});

describe("a streamed answer", () => {
  test("role, text, finish, [DONE]; one id and created for all", async () => {
    const response = await scriptedApp().send(CHAT, { json: streamBody });
    expect(response.headers.get("content-type")).toBe("text/event-stream; charset=utf-8");
    const seen = await events(response);
    expect(seen.pop()).toBe("[DONE]");
    expect(seen.map((chunk) => chunk.choices[0].delta)).toEqual([
      { role: "assistant", content: "", refusal: null },
      { content: "Paris" },
      { content: "." },
      {},
    ]);
    expect(seen.map((chunk) => chunk.choices[0].finish_reason)).toEqual([null, null, null, "stop"]);
    expect(new Set(seen.map(({ id, created, model, object }) => `${id} ${created} ${model} ${object}`)).size).toBe(1);
    for (const chunk of seen) {
      expect(chunk).toMatchObject({ object: "chat.completion.chunk", system_fingerprint: "0123456789abcdef" });
      expect(chunk).not.toHaveProperty("usage");
      expect(chunk).not.toHaveProperty("sortie");
    }
  });

  test("its headers state the first decision", async () => {
    const { headers } = await scriptedApp().send(CHAT, { json: streamBody });
    expect(headers.get("x-sortie-exit")).toBe("3");
    expect(headers.get("x-sortie-tier")).toBe("edge");
    expect(headers.get("x-sortie-route")).toBe("gate=prompt; score=0.900; reason=easy");
    expect(headers.get("x-ratelimit-limit-requests")).toBe("60");
  });

  test("usage comes last and only when asked, null before it", async () => {
    const json = { ...streamBody, stream_options: { include_usage: true } };
    const seen = await events(await scriptedApp().send(CHAT, { json }));
    expect(seen.pop()).toBe("[DONE]");
    const bill = seen.pop();
    expect(bill).toMatchObject({ choices: [], usage: { prompt_tokens: 7, completion_tokens: 3, total_tokens: 10 } });
    expect(seen.every((chunk) => chunk.usage === null)).toBe(true);
  });

  test("exit and confidence per token, the choice's exit, and in the end the cost, on request", async () => {
    const json = { ...streamBody, stream_options: { include_sortie: true } };
    const seen = await events(await scriptedApp().send(CHAT, { json }));
    const confidence = Math.exp(-0.5);
    expect(seen[1].sortie).toEqual({ tokens: Array(2).fill({ exit: 3, confidence }) });
    expect(seen[2].sortie).toEqual({ tokens: [{ exit: 12, confidence }] });
    const choice = {
      exit: 12,
      tier: "origin",
      route: "gate=prefill; reason=hard",
      completion_tokens_by_exit: { 3: 2, 12: 1 },
    };
    expect(seen[3].sortie).toEqual(choice);
    expect(seen[4]).toMatchObject({ choices: [], sortie: { ...choice, cost_usd: "0.001234" } });
    expect(seen[4]).not.toHaveProperty("usage");
  });

  test("log-probabilities are split over the chunks", async () => {
    const json = { ...streamBody, logprobs: true, top_logprobs: 1 };
    const seen = await events(await scriptedApp().send(CHAT, { json }));
    expect(seen[1].choices[0].logprobs.content.map(({ token: text }: { token: string }) => text)).toEqual([
      "Par",
      "is",
    ]);
    expect(seen[3].choices[0].logprobs).toBeNull();
  });

  test("that breaks ends with an error event and no [DONE]", async () => {
    async function* broken(): AsyncGenerator<TextEvent, void> {
      yield piece(token("Par"));
      throw new Error("tier fell over at 10.0.0.1");
    }
    const response = await scriptedApp({ events: broken }).send(CHAT, { json: streamBody });
    const seen = await events(response);
    expect(seen).toHaveLength(3);
    expect(seen[2]).toEqual({
      error: { message: expect.any(String), type: "server_error", param: null, code: "internal_error" },
    });
    expect(JSON.stringify(seen)).not.toContain("10.0.0.1");
    expect(logged("request.failed")[0].error).toContain("10.0.0.1");
  });

  test("that its reader leaves stops within one token, and is no failure", async () => {
    let made = 0;
    let stopped = false;
    async function* endless(): AsyncGenerator<TextEvent, void> {
      try {
        for (;;) {
          made++;
          yield piece(token("x"));
        }
      } finally {
        stopped = true;
      }
    }
    const { send, signals } = scriptedApp({ events: endless });
    const reader = (await send(CHAT, { json: streamBody })).body?.getReader();
    for (let read = 0; read < 4; read++) await reader?.read(); // the role and three tokens
    await reader?.cancel();
    expect({ made, stopped }).toEqual({ made: 3, stopped: true });
    expect(signals[0]?.aborted).toBe(true);
    expect(logged("chat.cancelled")[0]).toMatchObject({ tokens_by_exit: { 3: 3 }, cost_micro_usd: 1_234 });
    expect(logged("request.failed")).toEqual([]);
  });

  test("whose client hangs up while a token is made is cancelled, not failed", async () => {
    const client = new AbortController();
    async function* slow(signal: AbortSignal): AsyncGenerator<TextEvent, void> {
      yield piece(token("x"));
      await new Promise((resolve) => signal.addEventListener("abort", resolve));
      throw signal.reason;
    }
    const { send } = scriptedApp({ events: slow });
    const reader = (await send(CHAT, { json: streamBody, signal: client.signal })).body?.getReader();
    await reader?.read();
    await reader?.read();
    const last = reader?.read();
    await new Promise((resolve) => setTimeout(resolve, 10)); // the token is being made
    client.abort();
    await last;
    expect(logged("chat.cancelled")).toHaveLength(1);
    expect(logged("chat.failed")).toEqual([]);
  });

  test("that nobody ever reads is cancelled too", async () => {
    const { send, signals } = scriptedApp();
    await (await send(CHAT, { json: streamBody })).body?.cancel();
    expect(signals[0]?.aborted).toBe(true);
    expect(logged("chat.cancelled")).toHaveLength(1);
  });

  test("that was read to the end stays completed when the client leaves", async () => {
    const client = new AbortController();
    await (await scriptedApp().send(CHAT, { json: streamBody, signal: client.signal })).text();
    client.abort();
    expect(logged("chat.completed")).toHaveLength(1);
    expect(logged("chat.cancelled")).toEqual([]);
  });

  test("says the same as the whole one, however its text is cut", async () => {
    const tokens = fc.array(fc.tuple(fc.string({ unit: "grapheme" }), fc.constantFrom(3, 6, 12)), { maxLength: 6 });
    await fc.assert(
      fc.asyncProperty(fc.array(tokens, { maxLength: 6 }), async (pieces) => {
        async function* script(): AsyncGenerator<TextEvent, void> {
          for (const parts of pieces) yield piece(...parts.map(([text, exit]) => token(text, exit)));
          yield finish();
          yield END;
        }
        const { send } = scriptedApp({ events: script });
        const whole = (await (await send(CHAT, { json: { ...chatBody, logprobs: true } })).json()) as Choices;
        const seen = (await events(await send(CHAT, { json: { ...streamBody, logprobs: true } }))).slice(0, -1);
        const choices = seen.map((chunk) => chunk.choices[0]);
        expect(choices.map(({ delta }) => delta.content ?? "").join("")).toBe(whole.choices[0].message.content);
        expect(choices.flatMap(({ logprobs }) => logprobs?.content ?? [])).toEqual(whole.choices[0].logprobs.content);
      }),
      { numRuns: 50 },
    );
  });
});
