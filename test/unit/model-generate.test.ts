import { describe, expect, test } from "vitest";
import { generationRequestSchema, type GenerationRequest, type TokenEvent } from "../../src/generation.ts";
import { type Engine, loadEngine } from "../../src/model/engine.ts";
import { generate, type GenerateOptions, type GenerationOutcome } from "../../src/model/generate.ts";
import { Sequence } from "../../src/model/sequence.ts";
import { mockModel, VOCABULARY } from "./model-mock.ts";

const model = mockModel();
const engine = await loadEngine(model);
const never = new AbortController().signal;

const request = (changes: Partial<GenerationRequest> = {}): GenerationRequest =>
  generationRequestSchema.parse({
    request_id: "r",
    token_ids: [1, 5, 9, 2],
    exit_layer: 3,
    max_tokens: 12,
    sampling: { temperature: 1, seed: 11 },
    stop_token_ids: [],
    ...changes,
  });

interface Collected {
  readonly events: TokenEvent[];
  readonly ids: number[];
  readonly outcome: GenerationOutcome;
}

async function collect(generation: AsyncGenerator<TokenEvent, GenerationOutcome>): Promise<Collected> {
  const events: TokenEvent[] = [];
  for (;;) {
    const next = await generation.next();
    if (next.done) {
      const ids = events.flatMap((event) => (event.type === "token" ? [event.id] : []));
      return { events, ids, outcome: next.value };
    }
    events.push(next.value);
  }
}

const run = (changes?: Partial<GenerationRequest>, options?: GenerateOptions, on: Engine = engine) =>
  collect(generate(on, on.newSequence(), request(changes), never, options));

describe("an answer", () => {
  test("is tokens, then one end with usage and timings", async () => {
    let now = 0;
    const { events, ids, outcome } = await run({}, { clock: () => (now += 10) });
    expect(ids).toHaveLength(12);
    expect(events.at(-1)).toEqual({
      type: "end",
      finish_reason: "length",
      usage: { prompt_tokens: 4, cached_tokens: 0, completion_tokens_by_exit: { "3": 12 } },
      timings: { queue_ms: 0, prefill_ms: 10, decode_ms: 10 },
    });
    expect(outcome.type).toBe("end");
    expect(events.slice(0, -1).every((event) => event.type === "token" && event.exit === 3 && event.logprob <= 0)).toBe(
      true,
    );
  });

  test("is the same for the same seed, another for another", async () => {
    const [first, again, other] = [
      await run(),
      await run(),
      await run({ sampling: { ...request().sampling, seed: 12 } }),
    ];
    expect(again.events.slice(0, -1)).toEqual(first.events.slice(0, -1));
    expect(other.ids).not.toEqual(first.ids);
  });

  test("stops before a stop id, which is neither emitted nor counted", async () => {
    const { ids } = await run();
    const stop = ids[5] ?? 0;
    const { ids: cut, events, outcome } = await run({ stop_token_ids: [stop] });
    expect(cut).toEqual(ids.slice(0, ids.indexOf(stop)));
    expect(events.at(-1)).toMatchObject({ type: "end", finish_reason: "stop" });
    const emitted = ids.indexOf(stop);
    expect(outcome.usage.completion_tokens_by_exit).toEqual(emitted === 0 ? {} : { "3": emitted });
  });

  test("ends with the context", async () => {
    const short = await loadEngine(mockModel({ contextLength: 10 }));
    const { ids, events } = await run({ max_tokens: 50 }, {}, short);
    expect(ids).toHaveLength(6);
    expect(events.at(-1)).toMatchObject({ finish_reason: "length" });
    await expect(run({ token_ids: Array.from({ length: 10 }, () => 1) }, {}, short)).rejects.toMatchObject({
      fault: "context_length",
    });
  });

  test("carries as many alternatives as asked", async () => {
    const { events } = await run({ top_logprobs: 3, sampling: { ...request().sampling, temperature: 0 } });
    for (const event of events) {
      if (event.type !== "token") continue;
      expect(event.top_logprobs).toHaveLength(3);
      expect(event.top_logprobs?.[0]).toEqual({ id: event.id, logprob: event.logprob });
    }
    expect((await run()).events[0]).not.toHaveProperty("top_logprobs");
  });

  test("refuses an exit that is not loaded, and tokens that are no tokens", async () => {
    await expect(run({ exit_layer: 2 })).rejects.toMatchObject({ fault: "unknown_exit" });
    await expect(run({ token_ids: [VOCABULARY] })).rejects.toMatchObject({ fault: "token_id" });
  });

  test("after some of it was sent elsewhere goes on as if it had not been", async () => {
    const penalties = { ...request().sampling, presence_penalty: 1, frequency_penalty: 0.5, repetition_penalty: 1.2 };
    const whole = await run({ sampling: penalties });
    const rest = await run({
      sampling: penalties,
      token_ids: [...request().token_ids, ...whole.ids.slice(0, 5)],
      answer_tokens: 5,
      max_tokens: 7,
    });
    expect(rest.ids).toEqual(whole.ids.slice(5));
    expect(rest.outcome.usage).toMatchObject({ prompt_tokens: 4, completion_tokens_by_exit: { "3": 7 } });
  });
});

describe("stopping", () => {
  /** Segment runs that happen between `act` and the loop's end. */
  const runsAfter = async (
    act: (generation: AsyncGenerator<TokenEvent>, abort: AbortController) => Promise<unknown>,
  ) => {
    const abort = new AbortController();
    const generation = generate(engine, engine.newSequence(), request({ max_tokens: 100 }), abort.signal);
    for (let token = 0; token < 3; token++) await generation.next();
    const before = model.runs.length;
    await act(generation, abort);
    await new Promise((resolve) => setTimeout(resolve, 20));
    return model.runs.length - before;
  };

  test("by return computes nothing more", async () => {
    expect(await runsAfter((generation) => generation.return(undefined))).toBe(0);
  });

  test("by abort computes nothing more, and throws the reason", async () => {
    const gone = new Error("gone");
    const runs = await runsAfter(async (generation, abort) => {
      abort.abort(gone);
      await expect(generation.next()).rejects.toBe(gone);
    });
    expect(runs).toBe(0);
  });

  test("by abort while a token is computed ends with that token", async () => {
    const runs = await runsAfter(async (generation, abort) => {
      const next = generation.next();
      abort.abort(new Error("gone"));
      await expect(next).rejects.toThrow("gone");
    });
    expect(runs).toBeLessThanOrEqual(2);
  });

  test("before the first step, when the signal was aborted already", async () => {
    const before = model.runs.length;
    const generation = generate(engine, engine.newSequence(), request(), AbortSignal.abort(new Error("gone")));
    await expect(generation.next()).rejects.toThrow("gone");
    expect(model.runs.length).toBe(before);
  });

  test("lets the event loop turn once a token", async () => {
    let turns = 0;
    const count = (): void => {
      turns++;
      ticking = setImmediate(count);
    };
    let ticking = setImmediate(count);
    await run();
    clearImmediate(ticking);
    expect(turns).toBeGreaterThanOrEqual(11);
  });
});

describe("several answers", () => {
  test("take turns and do not disturb one another", async () => {
    const alone = await Promise.all(
      [3, 4, 5].map(async (seed) => (await run({ sampling: { ...request().sampling, seed } })).ids),
    );
    const order: number[] = [];
    const together = await Promise.all(
      [3, 4, 5].map(async (seed) => {
        const ids: number[] = [];
        for await (const event of generate(
          engine,
          engine.newSequence(),
          request({ sampling: { ...request().sampling, seed } }),
          never,
        )) {
          order.push(seed);
          if (event.type === "token") ids.push(event.id);
        }
        return ids;
      }),
    );
    expect(together).toEqual(alone);
    for (const seed of [3, 4, 5]) expect(order.slice(0, 6).filter((other) => other === seed)).toHaveLength(2);
  });
});

describe("gates", () => {
  test("get the prefill's features before a token is emitted", async () => {
    const sequence = engine.newSequence();
    const { ids, outcome } = await collect(
      generate(engine, sequence, request(), never, {
        afterPrefill: ({ hiddenLast, hiddenMean, firstToken }) => {
          expect(hiddenLast).toEqual(sequence.hidden(1, 3, 4));
          expect(hiddenMean[0]).toBeCloseTo(
            [0, 1, 2, 3].reduce((sum, at) => sum + (sequence.hidden(1, at, at + 1)[0] ?? 0) / 4, 0),
          );
          expect(firstToken.top1).toBeGreaterThan(firstToken.margin);
          return "handoff";
        },
      }),
    );
    expect(ids).toEqual([]);
    expect(outcome).toMatchObject({ type: "handoff", usage: { completion_tokens_by_exit: {} } });
    expect(sequence.export(3)).toMatchObject({ positions: 4 });
  });

  test("may hand off after a token: the rest comes from the deeper exit, nothing is computed twice", async () => {
    const greedy = { ...request().sampling, temperature: 0 };
    const sequence = engine.newSequence();
    const start = await collect(
      generate(engine, sequence, request({ exit_layer: 1, sampling: greedy }), never, {
        afterToken: ({ emitted }) => (emitted === 4 ? "handoff" : "continue"),
      }),
    );
    expect(start.outcome).toMatchObject({ type: "handoff", usage: { completion_tokens_by_exit: { "1": 4 } } });
    expect(start.events.every(({ type }) => type === "token")).toBe(true);

    const handoff = sequence.export(1);
    expect([handoff.positions, handoff.inputIds.length]).toEqual([7, 8]);
    const rest = request({
      exit_layer: 4,
      sampling: greedy,
      token_ids: sequence.tokenIds,
      answer_tokens: 4,
      max_tokens: 8,
    });
    const before = model.runs.length;
    const resumed = await collect(generate(engine, Sequence.import(model.bundle, handoff), rest, never));
    expect(resumed.outcome.usage).toEqual({
      prompt_tokens: 4,
      cached_tokens: 0, // of the deeper layers nothing was there
      completion_tokens_by_exit: { "4": 8 },
    });
    expect(model.runs.slice(before).filter(({ segment, start: from }) => segment === 0 && from < 7)).toEqual([]);
    const restarted = await collect(generate(engine, engine.newSequence(), rest, never));
    expect(resumed.ids).toEqual(restarted.ids);
  });

  test("are not asked about the last token", async () => {
    const asked: number[] = [];
    await run({ max_tokens: 3 }, { afterToken: ({ emitted }) => (asked.push(emitted), "continue") });
    expect(asked).toEqual([1, 2]);
  });

  test("refuse a sequence of other tokens", async () => {
    const generation = generate(engine, engine.newSequence([1, 5, 8]), request(), never);
    await expect(generation.next()).rejects.toMatchObject({ fault: "sequence" });
  });
});

describe("early exit", () => {
  const early = (thresholds: Record<string, number>) => request({ decoding: { kind: "early_exit", thresholds } });
  test("with thresholds that nothing reaches, the answer is the exit's own; with 0, the shallowest exit's", async () => {
    const deep = await collect(generate(engine, engine.newSequence(), request(), never));
    const never1 = await collect(generate(engine, engine.newSequence(), early({ "1": 1 }), never));
    expect(never1.ids).toEqual(deep.ids);
    const shallow = await collect(generate(engine, engine.newSequence(), request({ exit_layer: 1 }), never));
    const always = await collect(generate(engine, engine.newSequence(), early({ "1": 0 }), never));
    expect(always.ids).toEqual(shallow.ids);
    expect(always.outcome.usage.completion_tokens_by_exit).toEqual({ "1": 12 });
  });

  test("every token is the token of the exit that made it, over the same history", async () => {
    const sureness: number[] = [];
    const watch = { afterToken: ({ top1 }: { top1: number }) => (sureness.push(top1), "continue" as const) };
    await collect(generate(engine, engine.newSequence(), request({ exit_layer: 1 }), never, watch));
    const middle = sureness.toSorted((a, b) => a - b)[Math.floor(sureness.length / 2)] ?? 0;
    const { events, ids, outcome } = await collect(
      generate(engine, engine.newSequence(), early({ "1": middle }), never),
    );
    const exits = events.flatMap((event) => (event.type === "token" ? [event.exit] : []));
    expect(new Set(exits)).toEqual(new Set([1, 3])); // both, or nothing was tried
    const prompt = request().token_ids;
    for (const [at, exit] of exits.entries()) {
      const history = request({
        exit_layer: exit,
        max_tokens: 1,
        token_ids: [...prompt, ...ids.slice(0, at)],
        answer_tokens: at,
      });
      const alone = await collect(generate(engine, engine.newSequence(), history, never));
      expect(alone.ids[0]).toBe(ids[at]);
    }
    const by = outcome.usage.completion_tokens_by_exit;
    expect((by["1"] ?? 0) + (by["3"] ?? 0)).toBe(12);
  });
});
