/** The flow over scripted tiers: where several choices go, with which seeds, and that all of them stop. */
import { describe, expect, test, vi } from "vitest";
import { chat } from "../../src/chat.ts";
import type { ChatRequest } from "../../src/conversation.ts";
import { read, REQUEST, scripted, STAYS } from "./chat-tiers.ts";
import { memoryAccount } from "./memory-payer.ts";

describe("several choices", () => {
  test("each has a seed of its own, the prompt counts once, every token counts", async () => {
    const { deps, state } = scripted();
    const answer = await chat(deps, memoryAccount().payer, { ...REQUEST, model: "tiny:exit-3", choices: 3 }, STAYS);
    expect(answer).toMatchObject({ model: "tiny", route: { exit: 3, tier: "edge" }, promptTokens: 4 });
    const { texts, end } = await read(answer.events);
    const seeds = state.edge.map(({ request }) => request.sampling.seed);
    expect(seeds[0]).toBe(5);
    expect(new Set(seeds).size).toBe(3);
    expect(texts).toEqual(seeds.map((seed) => String(seed % 10).repeat(4)));
    expect(end.usage).toEqual({ prompt_tokens: 4, cached_tokens: 0, completion_tokens_by_exit: { 3: 12 } });
    expect(state.most).toBe(2); // a few at a time
  });

  test("the same request gives the same answers", async () => {
    const once = async () => {
      const request = { ...REQUEST, model: "tiny:exit-3", choices: 3 };
      return (await read((await chat(scripted().deps, memoryAccount().payer, request, STAYS)).events)).texts;
    };
    expect(await once()).toEqual(await once());
  });

  test("more prompts than one, each with its choices", async () => {
    const { deps, state } = scripted();
    const prompts = [
      { kind: "text", text: "a" },
      { kind: "tokens", ids: [9, 10, 11] },
    ] as const;
    const request = { ...REQUEST, model: "tiny:exit-6", prompts, choices: 2 };
    const answer = await chat(deps, memoryAccount().payer, request, STAYS);
    expect(answer.promptTokens).toBe(5);
    const { texts, end } = await read(answer.events);
    expect(texts).toHaveLength(4);
    expect(texts[0]).toBe(texts[2]); // the same seed, and tokens that only depend on it
    expect(end.usage.prompt_tokens).toBe(5);
    expect(state.edge.map(({ request: { token_ids } }) => token_ids.length).toSorted((a, b) => a - b)).toEqual([
      2, 2, 3, 3,
    ]);
  });

  test("wait for a place without holding the others up", async () => {
    const { deps, state } = scripted({ places: 1 });
    const answer = await chat(deps, memoryAccount().payer, { ...REQUEST, model: "tiny:exit-3", choices: 3 }, STAYS);
    expect((await read(answer.events)).texts).toHaveLength(3);
    expect(state.most).toBe(1);
  });

  test.each(["the reader leaves", "the client aborts"])("all stop when %s, waiting ones too", async (how) => {
    const { deps, state } = scripted({ places: 1 });
    const client = new AbortController();
    const request = { ...REQUEST, model: "tiny:exit-3", choices: 3, maxTokens: 50 };
    const events = (await chat(deps, memoryAccount().payer, request, client.signal)).events[Symbol.asyncIterator]();
    await events.next();
    if (how === "the reader leaves") await events.return?.();
    else {
      client.abort(new Error("gone"));
      await expect(read({ [Symbol.asyncIterator]: () => events })).rejects.toThrow("gone");
    }
    await vi.waitFor(() => expect(state.active).toBe(0));
    expect(state.edge).toHaveLength(2); // the third was never begun
  });

  test("an answer that nobody reads stops too", async () => {
    const { deps, state } = scripted();
    const answer = await chat(deps, memoryAccount().payer, { ...REQUEST, model: "tiny:exit-3", choices: 2 }, STAYS);
    expect(state.active).toBe(1);
    await answer.events[Symbol.asyncIterator]().return?.();
    expect(state.active).toBe(0);
  });

  test("go where the gates sent the first, and are not asked again", async () => {
    const { deps, state } = scripted({ hard: true });
    const answer = await chat(deps, memoryAccount().payer, { ...REQUEST, choices: 3 }, STAYS);
    expect(answer.route).toMatchObject({ exit: 12, tier: "origin", reason: "gate=prefill; reason=hard" });
    const { end } = await read(answer.events);
    expect(state.edge).toHaveLength(1);
    expect(state.origin.map(({ exit_layer }) => exit_layer)).toEqual([12, 12, 12]);
    expect(end.usage.completion_tokens_by_exit).toEqual({ 12: 12 });
  });
});

describe("gate 3", () => {
  test("moves the answer on: what was sent stays, both exits are counted, the prompt is paid at the last", async () => {
    const { deps, state } = scripted({ hard: true, doubtsAt: 2 });
    const account = memoryAccount();
    const answer = await chat(deps, account.payer, { ...REQUEST, maxTokens: 6 }, STAYS);
    expect(answer.route).toMatchObject({ exit: 3, tier: "edge", reason: "gate=prefill; reason=easy" });
    const { texts, end } = await read(answer.events);
    expect(texts).toEqual(["555555"]);
    expect(end.route).toMatchObject({ exit: 12, tier: "origin", reason: "gate=decode; reason=hard" });
    expect(end.usage).toMatchObject({ prompt_tokens: 4, completion_tokens_by_exit: { 3: 2, 12: 4 } });
    expect(state.origin).toEqual([expect.objectContaining({ answer_tokens: 2, max_tokens: 4, exit_layer: 12 })]);
    expect(state.origin[0]?.token_ids.slice(-2)).toEqual([53, 53]);
  });

  test("an origin that is gone by then leaves the rest to the edge", async () => {
    const { deps, state } = scripted({ hard: true, doubtsAt: 2, originDown: true });
    const answer = await chat(deps, memoryAccount().payer, { ...REQUEST, maxTokens: 6 }, STAYS);
    const { texts, end } = await read(answer.events);
    expect(texts).toEqual(["555555"]);
    expect(end.route).toMatchObject({ exit: 6, tier: "edge", reason: "degraded; origin=unreachable" });
    expect(state.edge.at(-1)).toMatchObject({ gates: null, request: { answer_tokens: 2, max_tokens: 4 } });
  });
});

describe("a conversation that goes on at the origin", () => {
  const conversation = [
    { role: "user", content: "one" },
    { role: "assistant", content: "two" },
    { role: "user", content: "three" },
  ] as const;
  const asking = (messages: readonly (typeof conversation)[number][]) => ({
    ...REQUEST,
    model: "tiny:exit-12",
    prompts: [{ kind: "messages" as const, messages }],
  });

  test("is handed over from what its shard has stored", async () => {
    const { deps, state } = scripted();
    await read((await chat(deps, memoryAccount().payer, asking(conversation), STAYS)).events);
    expect(state.stored).toEqual([expect.objectContaining({ exit_layer: 12 })]);
    expect(state.handoffs).toEqual([{ handoff: { positions: 2 }, spared: 1 }]);
    expect(state.edge).toEqual([]);
  });

  test("not its first message, and nothing where handoffs are forbidden", async () => {
    const { deps, state } = scripted();
    await read((await chat(deps, memoryAccount().payer, asking(conversation.slice(0, 1)), STAYS)).events);
    const forbidden = { ...deps, settings: { ...deps.settings, handoffs: "never" as const } };
    await read((await chat(forbidden, memoryAccount().payer, asking(conversation), STAYS)).events);
    expect([state.stored, state.handoffs]).toEqual([[], [null, null]]);
  });
});

describe("early exit", () => {
  test("is asked of the origin, for the exits that may answer, and not of the edge", async () => {
    const { deps, state } = scripted();
    const narrowing = { min_exit: 6 };
    await read((await chat(deps, memoryAccount().payer, { ...REQUEST, earlyExit: 0.9, narrowing }, STAYS)).events);
    expect(state.origin[0]).toMatchObject({ exit_layer: 12, decoding: { kind: "early_exit", thresholds: { 6: 0.9 } } });
    const fixed = { ...REQUEST, model: "tiny:exit-3", earlyExit: 0.9 };
    await read((await chat(deps, memoryAccount().payer, fixed, STAYS)).events);
    expect(state.edge[0]?.request.decoding).toBeUndefined();
  });
});

describe("shadow mode", () => {
  test("logs what another target would have done, and changes nothing", async () => {
    const lines: string[] = [];
    const spy = vi.spyOn(console, "info").mockImplementation((line: string) => void lines.push(line));
    const { deps, state } = scripted({ hard: true, doubtsAt: 2 });
    const shadowed = { ...deps, settings: { ...deps.settings, shadowQuality: 0.8 } };
    const answer = await chat(shadowed, memoryAccount().payer, REQUEST, STAYS);
    const live = await chat(scripted({ hard: true, doubtsAt: 2 }).deps, memoryAccount().payer, REQUEST, STAYS);
    expect(answer.route).toEqual(live.route);
    expect(state.edge[0]?.gates?.shadow).toMatchObject({ quality: 1 }); // the next target that was calibrated
    const logged = lines.map((line) => JSON.parse(line) as Record<string, unknown>);
    expect(logged).toContainEqual(
      expect.objectContaining({ event: "route.shadow", request_id: "r-1", exit: 3, live_exit: 3 }),
    );
    for (const { events } of [answer, live]) await read(events);
    spy.mockRestore();
  });
});

describe("load and health", () => {
  const routeOf = async (deps: ReturnType<typeof scripted>["deps"]) => {
    const answer = await chat(deps, memoryAccount().payer, REQUEST, STAYS);
    await read(answer.events);
    return answer.route;
  };
  test("an origin that failed is not asked again at once: the verdict is made without it", async () => {
    const { deps, state } = scripted({ hard: true, originDown: true });
    expect((await routeOf(deps)).reason).toBe("degraded; origin=unreachable");
    expect((await routeOf(deps)).reason).toMatch(/^degraded; gate=prompt; .*reason=origin-down$/);
    expect(state.origin).toHaveLength(1);
  });
  test("without the origin, a later gate's verdict is marked, too", async () => {
    const { deps } = scripted({ hard: true, climbs: true, originDown: true });
    await routeOf(deps);
    expect(await routeOf(deps)).toEqual({ exit: 6, tier: "edge", reason: "degraded; gate=prefill; reason=hard" });
  });
  test("a full edge sends the prompt to the origin, by gate 1 alone", async () => {
    const { deps, state } = scripted({ hard: true, edgeFull: true });
    expect(await routeOf(deps)).toMatchObject({
      exit: 3,
      tier: "origin",
      reason: expect.stringMatching(/reason=edge-full; spilled=edge-full$/),
    });
    expect(await routeOf(deps)).toMatchObject({ tier: "origin", reason: expect.stringMatching(/reason=edge-full$/) });
    expect(state.edge).toHaveLength(1);
  });
});

describe("refusals before anything is computed", () => {
  test.each([
    ["an unknown model", { model: "gpt-4" }, { status: 404, code: "model_not_found", param: "model" }],
    ["an unknown exit", { model: "tiny:exit-5" }, { status: 404, code: "model_not_found", param: "model" }],
    [
      "a prompt too long",
      { prompts: [{ kind: "text", text: "x".repeat(64) }] },
      { status: 400, code: "context_length_exceeded", param: "prompt" },
    ],
    [
      "limits that leave no exit",
      { narrowing: { min_exit: 7, max_exit: 9 } },
      { status: 400, code: "no_exit_left", param: "sortie" },
    ],
    [
      "a named exit outside the request's own limits",
      { model: "tiny:exit-3", narrowing: { min_exit: 6 } },
      { status: 400, code: "no_exit_left", param: "sortie" },
    ],
    ["an answer too long", { maxTokens: 61 }, { status: 400, code: "context_length_exceeded", param: "prompt" }],
    [
      "a second prompt too long",
      { prompts: [...REQUEST.prompts, { kind: "text", text: "x".repeat(64) }] },
      { status: 400, code: "context_length_exceeded" },
    ],
  ])("%s", async (_, fields, expected) => {
    const { deps, state } = scripted();
    const request = { ...REQUEST, ...fields } as ChatRequest;
    await expect(chat(deps, memoryAccount().payer, request, STAYS)).rejects.toMatchObject(expected);
    expect(state.edge).toEqual([]);
  });
});
