import fc from "fast-check";
import { afterEach, describe, expect, test, vi } from "vitest";
import { newAnswer, saved, tokensByExit, tokensPerSecond, withChunk, type Answer } from "../../web/client/answer.ts";
import { ask } from "../../web/client/ask.ts";
import { failureOf } from "../../web/client/failure.ts";
import { escalations, readRoute, verdictText } from "../../web/client/route.ts";
import type { ChatChunk } from "../../web/client/wire.ts";

const QUESTION = { url: "", key: "k", model: "tiny", messages: [], temperature: 0, maxTokens: null };
const head = { id: "x", created: 1, model: "tiny", system_fingerprint: "f", object: "chat.completion.chunk" as const };

function tokenChunk(text: string, exit: number, confidence = 0.5): ChatChunk {
  const token = { token: text, logprob: Math.log(confidence), bytes: [] };
  const logprobs = { content: [{ ...token, top_logprobs: [] }], refusal: null };
  const choices = [{ index: 0, delta: { content: text }, logprobs, finish_reason: null }];
  return { ...head, choices, sortie: { tokens: [{ exit, confidence }] } };
}
const served = {
  exit: 9,
  tier: "origin" as const,
  route: "gate=prefill; reason=hard",
  completion_tokens_by_exit: { 9: 2 },
};
const lastChunk: ChatChunk = {
  ...head,
  choices: [],
  sortie: { ...served, cost_usd: "0.000003", full_depth_cost_usd: "0.000004" },
};
const frames = (...events: readonly unknown[]): string =>
  events.map((event) => `data: ${typeof event === "string" ? event : JSON.stringify(event)}\n\n`).join("");

/** Everything the client says of an answer to these bytes. */
async function heard(body: string | ReadableStream, init: ResponseInit = {}, signal = new AbortController().signal) {
  vi.stubGlobal("fetch", async () => new Response(body, init));
  return Array.fromAsync(ask(QUESTION, signal));
}
afterEach(() => vi.unstubAllGlobals());

describe("an answer as it grows", () => {
  test("text, tokens, the end's route and cost", async () => {
    const headers = { "x-sortie-exit": "3", "x-sortie-tier": "edge", "x-sortie-route": "gate=prompt; reason=easy" };
    const body = `: ping\n\n${frames(tokenChunk("Par", 3), tokenChunk("is", 9, 0.25), lastChunk, "[DONE]")}`;
    const states = await heard(body, { headers });
    expect(states[0]).toMatchObject({ state: "streaming", exit: 3, tier: "edge", text: "" });
    const end = states.at(-1) as Answer;
    expect(end).toMatchObject({ state: "done", text: "Paris", exit: 9, tier: "origin", costUsd: "0.000003" });
    expect(end.tokens.map(({ confidence }) => confidence)).toEqual([0.5, 0.25]);
    expect(tokensByExit(end)).toEqual([
      [3, 1],
      [9, 1],
    ]);
    expect(saved(end)).toBeCloseTo(0.25);
  });

  test("however the bytes are cut, the same is heard", async () => {
    const bytes = new TextEncoder().encode(frames(tokenChunk("pé", 3), tokenChunk("rro", 3), lastChunk, "[DONE]"));
    await fc.assert(
      fc.asyncProperty(fc.array(fc.nat(bytes.length), { maxLength: 8 }), async (places) => {
        const cuts = [0, ...places.toSorted((a, b) => a - b), bytes.length];
        const body = new ReadableStream({
          start(controller) {
            for (const [index, cut] of cuts.slice(1).entries()) controller.enqueue(bytes.slice(cuts[index], cut));
            controller.close();
          },
        });
        expect((await heard(body)).at(-1)).toMatchObject({ state: "done", text: "pérro" });
      }),
    );
  });

  test.each<[string, string, string]>([
    ["an error in mid-answer", frames(tokenChunk("Par", 3), { error: { message: "broke" } }), "broke"],
    ["a stream without its end", frames(tokenChunk("Par", 3)), "closed before the end"],
    ["bytes that are no JSON", "data: {oops\n\n", "JSON"],
  ])("%s keeps the text and says what is wrong", async (_, body, detail) => {
    const end = (await heard(body)).at(-1);
    expect(end?.state).toBe("failed");
    expect(end?.failure?.detail).toContain(detail);
  });

  test("an abort is no failure", async () => {
    const controller = new AbortController();
    vi.stubGlobal("fetch", async () => {
      controller.abort();
      throw new DOMException("aborted", "AbortError");
    });
    const states = await Array.fromAsync(ask(QUESTION, controller.signal));
    expect(states).toMatchObject([{ state: "stopped", failure: null }]);
  });

  test("a speed is told of answers that are long enough to have one", () => {
    const grown = (count: number) =>
      Array.from({ length: count }).reduce<Answer>(
        (answer, _, index) => withChunk(answer, tokenChunk("a", 3), 100 + index * 10),
        newAnswer("tiny"),
      );
    expect(tokensPerSecond(grown(2))).toBeNull();
    expect(tokensPerSecond(grown(11))).toBeCloseTo(100);
  });
});

describe("failures", () => {
  test.each<[number, unknown, string]>([
    [401, { error: { message: "m", code: "invalid_api_key" } }, "key"],
    [429, { error: { message: "m", code: "insufficient_quota" } }, "budget"],
    [429, { error: { message: "m", code: "rate_limit_exceeded" } }, "rate"],
    [503, { error: { message: "m", code: "model_unavailable" } }, "unavailable"],
    [400, { error: { message: "m", code: null } }, "refused"],
    [502, "<html>", "unavailable"],
  ])("%i %j is told as %s", (status, body, kind) => {
    const text = typeof body === "string" ? body : JSON.stringify(body);
    expect(failureOf(status, new Headers({ "retry-after": "5" }), text)).toMatchObject({ kind, retryAfter: 5 });
  });
});

describe("routes for people", () => {
  test("gate, reason and the rest are told apart", () => {
    const verdict = readRoute("gate=prefill; score=0.741; threshold=0.870; reason=hard; budget=daily");
    expect(verdict).toEqual({
      gate: "prefill",
      reason: "hard",
      details: [
        ["score", "0.741"],
        ["threshold", "0.870"],
        ["budget", "daily"],
      ],
    });
    expect(verdictText("gate=prompt; score=0.9; reason=easy")).toBe("Gate 1 read the text: easy enough for this exit.");
    expect(verdictText("degraded; origin=timeout")).toContain("edge answers alone");
    expect(verdictText("gate=none; reason=something-new")).toBe("No gate was asked: something-new.");
  });

  test("an answer goes deeper before its first token, or where a token's exit grows", () => {
    const answer = (route: string, ...exits: number[]): Answer => ({
      ...newAnswer("tiny"),
      route,
      tier: "origin",
      tokens: exits.map((exit) => ({ exit, text: "a", confidence: 1 })),
    });
    expect(escalations(answer("gate=prefill; reason=hard", 9, 9))).toEqual([{ at: 0, to: 9 }]);
    expect(escalations(answer("gate=decode; reason=unsure", 3, 3, 12))).toEqual([{ at: 2, to: 12 }]);
    expect(escalations(answer("gate=prompt; reason=hard", 9))).toEqual([]);
    expect(escalations(answer("gate=prefill; reason=hard"))).toEqual([]);
  });
});
