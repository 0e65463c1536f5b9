/** The flow over scripted tiers: where several choices go, with which seeds, and that all of them stop. */
import { describe, expect, test, vi } from "vitest";
import { chat, type ChatDeps } from "../../src/chat.ts";
import type { ChatRequest, TextEvent } from "../../src/conversation.ts";
import type { EdgeEvent, EdgeJob } from "../../src/edge/job.ts";
import { samplingSchema, type GenerationRequest, type TokenEvent } from "../../src/generation.ts";

const REQUEST: ChatRequest = {
  requestId: "r-1",
  model: "tiny",
  prompts: [{ kind: "text", text: "one" }],
  choices: 1,
  maxTokens: 4,
  sampling: samplingSchema.parse({ seed: 5 }),
  stop: [],
  topLogprobs: null,
};

/** Tokens of one generation: its seed's last digit, as often as asked. */
async function* tokensOf(request: GenerationRequest, signal: AbortSignal): AsyncGenerator<TokenEvent, void> {
  for (let made = 0; made < request.max_tokens; made++) {
    await new Promise((resolve) => setTimeout(resolve, 1));
    signal.throwIfAborted();
    yield { type: "token", id: 48 + (request.sampling.seed % 10), logprob: -1, exit: request.exit_layer };
  }
  const by = { [request.exit_layer]: request.max_tokens };
  const usage = { prompt_tokens: request.token_ids.length, cached_tokens: 0, completion_tokens_by_exit: by };
  yield { type: "end", finish_reason: "length", usage, timings: { queue_ms: 0, prefill_ms: 1, decode_ms: 1 } };
}

interface Tiers {
  /** Answers at the edge at once; others wait. */
  readonly places?: number;
  /** Gate 2 finds every prompt hard. */
  readonly hard?: boolean;
}

function scripted({ places = 4, hard = false }: Tiers = {}) {
  const state = { edge: [] as EdgeJob[], origin: [] as GenerationRequest[], active: 0, most: 0 };
  const waiting: (() => void)[] = [];
  async function* events(job: EdgeJob, signal: AbortSignal): AsyncGenerator<EdgeEvent, void> {
    if (state.active === places) {
      await new Promise<void>((resolve, reject) => {
        waiting.push(resolve);
        signal.addEventListener("abort", () => reject(signal.reason as Error));
      });
    }
    state.active++;
    state.most = Math.max(state.most, state.active);
    try {
      if (hard) {
        yield { type: "verdict", handoff: true, reason: "gate=prefill; reason=hard" };
        yield { type: "handoff", handoff: { positions: 3 } as never };
        return;
      }
      yield* tokensOf(job.request, signal);
    } finally {
      state.active--;
      waiting.shift()?.();
    }
  }
  const bundle = {
    name: "tiny",
    exits: [3, 6, 12],
    shape: { vocab_size: 100, context_length: 64 },
    eos_token_ids: [2],
  };
  const tokenizer = {
    textPrefix: [1],
    stripsLeadingSpace: false,
    encode: (text: string) => Array.from(text, (char) => char.charCodeAt(0) - 32),
    bytesOf: (id: number) => Uint8Array.of(id),
  };
  const deps = {
    settings: { edgeExits: [3, 6] },
    catalogue: { bundle, tokenizer, template: { encode: () => [7, 8] }, router: null },
    edge: {
      async run(job: EdgeJob, signal: AbortSignal) {
        state.edge.push(job);
        return { ok: true, events: events(job, signal) };
      },
    },
    origin: {
      async generate(request: GenerationRequest, _: unknown, signal: AbortSignal) {
        state.origin.push(request);
        return tokensOf(request, signal);
      },
    },
  } as unknown as ChatDeps;
  return { deps, state };
}

/** Texts by choice, and the end. */
async function read(events: AsyncIterable<TextEvent>) {
  const texts: string[] = [];
  for await (const event of events) {
    if (event.type === "text") texts[event.index] = (texts[event.index] ?? "") + event.text;
    if (event.type === "end") return { texts, end: event };
  }
  throw new Error("no end");
}

describe("several choices", () => {
  test("each has a seed of its own, the prompt counts once, every token counts", async () => {
    const { deps, state } = scripted();
    const answer = await chat(deps, { ...REQUEST, model: "tiny:exit-3", choices: 3 }, new AbortController().signal);
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
      return (await read((await chat(scripted().deps, request, new AbortController().signal)).events)).texts;
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
    const answer = await chat(deps, request, new AbortController().signal);
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
    const answer = await chat(deps, { ...REQUEST, model: "tiny:exit-3", choices: 3 }, new AbortController().signal);
    expect((await read(answer.events)).texts).toHaveLength(3);
    expect(state.most).toBe(1);
  });

  test.each(["the reader leaves", "the client aborts"])("all stop when %s, waiting ones too", async (how) => {
    const { deps, state } = scripted({ places: 1 });
    const client = new AbortController();
    const request = { ...REQUEST, model: "tiny:exit-3", choices: 3, maxTokens: 50 };
    const events = (await chat(deps, request, client.signal)).events[Symbol.asyncIterator]();
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
    const answer = await chat(deps, { ...REQUEST, model: "tiny:exit-3", choices: 2 }, new AbortController().signal);
    expect(state.active).toBe(1);
    await answer.events[Symbol.asyncIterator]().return?.();
    expect(state.active).toBe(0);
  });

  test("go where the gates sent the first, and are not asked again", async () => {
    const { deps, state } = scripted({ hard: true });
    const router = {
      exits: [3, 6, 12],
      buckets: 2,
      promptWeights: new Float32Array(6),
      promptScale: [0, 0, 0],
      promptBias: [9, 9, 9], // gate 1 finds everything easy
      thresholds: { prompt: 0.5, prefill: 0.5 },
      prefill: new Map([[3, { weights: [0, 0, 0, 0], bias: 0 }]]),
    };
    const calibrated = { ...deps, catalogue: { ...deps.catalogue, router } } as unknown as ChatDeps;
    const answer = await chat(calibrated, { ...REQUEST, choices: 3 }, new AbortController().signal);
    expect(answer.route).toMatchObject({ exit: 12, tier: "origin", reason: "gate=prefill; reason=hard" });
    const { end } = await read(answer.events);
    expect(state.edge).toHaveLength(1);
    expect(state.origin.map(({ exit_layer }) => exit_layer)).toEqual([12, 12, 12]);
    expect(end.usage.completion_tokens_by_exit).toEqual({ 12: 12 });
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
    ["an answer too long", { maxTokens: 61 }, { status: 400, code: "context_length_exceeded", param: "prompt" }],
    [
      "a second prompt too long",
      { prompts: [...REQUEST.prompts, { kind: "text", text: "x".repeat(64) }] },
      { status: 400, code: "context_length_exceeded" },
    ],
  ])("%s", async (_, fields, expected) => {
    const { deps, state } = scripted();
    const request = { ...REQUEST, ...fields } as ChatRequest;
    await expect(chat(deps, request, new AbortController().signal)).rejects.toMatchObject(expected);
    expect(state.edge).toEqual([]);
  });
});
