/** Choices of one request joined: indices, sums, seeds. */
import { describe, expect, test } from "vitest";
import { answerEnd, joinChoices } from "../../src/choices.ts";
import type { ChoiceEnd, ChoiceEvent } from "../../src/conversation.ts";
import { samplingSchema } from "../../src/generation.ts";
import { ofChoice } from "../../src/plan.ts";

const end = (exit: number, tokens: number, timed = true): ChoiceEnd => ({
  type: "end",
  finishReason: tokens > 2 ? "length" : "stop",
  usage: { prompt_tokens: 5, cached_tokens: 1, completion_tokens_by_exit: { [exit]: tokens } },
  timings: timed ? { queue_ms: 1, prefill_ms: 2, decode_ms: tokens } : null,
  route: { exit, tier: "edge", reason: `exit ${exit}` },
});

describe("the end of an answer", () => {
  test("prompts count once, tokens are summed by exit", () => {
    // two prompts, two choices each
    const total = answerEnd([end(3, 1), end(3, 2), end(6, 3), end(12, 4)], 2, { cost: 17, fullDepthCost: 40 });
    expect(total.usage).toEqual({
      prompt_tokens: 10,
      cached_tokens: 2,
      completion_tokens_by_exit: { 3: 3, 6: 3, 12: 4 },
    });
    expect(total.finishReasons).toEqual(["stop", "stop", "length", "length"]);
    expect(total.timings).toEqual({ queue_ms: 4, prefill_ms: 8, decode_ms: 10 });
    expect(total.route.exit).toBe(3);
    expect(total.charge).toEqual({ cost: 17, fullDepthCost: 40 });
  });

  test("has no timings when a choice has none", () => {
    expect(answerEnd([end(3, 1), end(3, 1, false)], 2, { cost: 0, fullDepthCost: 0 }).timings).toBeNull();
  });
});

test("pieces and ends carry their index, the sum comes last and once, and with it the cost as it is then", async () => {
  let made = 0;
  const choice = (text: string, exit: number) => async () => {
    async function* events(): AsyncGenerator<ChoiceEvent, void> {
      yield { type: "text", text, tokens: [] };
      made += exit;
      yield end(exit, 1);
    }
    return events();
  };
  const openers = [choice("a", 3), choice("b", 6), choice("c", 12)];
  const events = await Array.fromAsync(
    joinChoices(
      openers,
      3,
      () => ({ cost: made, fullDepthCost: 4 * made }),
      () => {},
    ),
  );
  const texts = events.flatMap((event) => (event.type === "text" ? [`${event.index}${event.text}`] : []));
  expect(texts.toSorted()).toEqual(["0a", "1b", "2c"]);
  const finished = events.flatMap((event) => (event.type === "finish" ? [`${event.index}: ${event.route.exit}`] : []));
  expect(finished.toSorted()).toEqual(["0: 3", "1: 6", "2: 12"]);
  expect(events.map(({ type }) => type).indexOf("end")).toBe(events.length - 1);
  expect(events.at(-1)).toMatchObject({ type: "end", charge: { cost: 3 + 6 + 12 } });
});

test("the first choice has the caller's seed, the others one of their own that follows from it", () => {
  const sampling = samplingSchema.parse({ seed: 0xffffffff });
  const values = [0, 1, 2, 3].map((choice) => ofChoice({ sampling }, choice).sampling.seed);
  expect(values[0]).toBe(0xffffffff);
  expect(new Set(values).size).toBe(4);
  for (const seed of values) expect(Number.isInteger(seed) && seed >= 0 && seed <= 0xffffffff).toBe(true);
});
