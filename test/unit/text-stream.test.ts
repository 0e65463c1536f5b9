/** Detokenising and stop sequences: text in pieces is the text at once, cut where it must be. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { ChoiceEvent, Route } from "../../src/conversation.ts";
import type { TokenEvent } from "../../src/generation.ts";
import { firstStop, partialStop, textStream } from "../../src/text-stream.ts";

const route: Route = { exit: 3, tier: "edge", reason: "test" };
const encoder = new TextEncoder();

/** One token a character. */
function setup(text: string, stop: readonly string[]) {
  const state = { given: 0, closed: 0 };
  const chars = Array.from(text);
  async function* source(): AsyncGenerator<TokenEvent, void> {
    for (const char of chars) {
      state.given += 1;
      const first = state.given === 1 && { cached_tokens: 3 };
      yield { type: "token", id: char.codePointAt(0) ?? 0, logprob: -1, exit: 3, ...first };
    }
    yield {
      type: "end",
      finish_reason: "length",
      usage: { prompt_tokens: 4, cached_tokens: 0, completion_tokens_by_exit: { "3": chars.length } },
      timings: { queue_ms: 1, prefill_ms: 2, decode_ms: 3 },
    };
  }
  const generator = source();
  const tokens = {
    [Symbol.asyncIterator]: () => ({
      next: () => generator.next(),
      return: async () => {
        state.closed += 1;
        return generator.return();
      },
    }),
  };
  const events = textStream(tokens, {
    detokenizer: {
      push: (id) => {
        const char = String.fromCodePoint(id);
        return { text: char, bytes: [...encoder.encode(char)] };
      },
      flush: () => "",
    },
    bytesOf: (id) => encoder.encode(String.fromCodePoint(id)),
    stop,
    route: () => route,
    promptTokens: 4,
  });
  return { events, state };
}

const textOf = (events: readonly ChoiceEvent[]): string =>
  events.map((event) => (event.type === "text" ? event.text : "")).join("");

describe("textStream", () => {
  test("the pieces join to the text before the first stop sequence", async () => {
    const letters = fc.string({ unit: fc.constantFrom("a", "b", "c"), maxLength: 30 });
    const stops = fc.array(fc.string({ unit: fc.constantFrom("a", "b", "c"), minLength: 1, maxLength: 4 }), {
      maxLength: 3,
    });
    await fc.assert(
      fc.asyncProperty(letters, stops, async (text, stop) => {
        const { events, state } = setup(text, stop);
        const all = await Array.fromAsync(events);
        const at = firstStop(text, stop);
        const end = all.at(-1);
        // A stop sequence is acted on as soon as it is complete, even where an earlier-starting one could still come.
        const expected = at === -1 ? text : textOf(all);
        expect(textOf(all)).toBe(expected);
        for (const sequence of stop) expect(textOf(all)).not.toContain(sequence);
        expect(text.startsWith(textOf(all))).toBe(true);
        expect(end?.type === "end" && end.finishReason).toBe(at === -1 ? "length" : "stop");
        if (at !== -1) expect(state.closed).toBe(1);
      }),
    );
  });

  test("a stop sequence ends the compute; what was produced is what is paid", async () => {
    const { events, state } = setup("one STOP two", ["STOP"]);
    const all = await Array.fromAsync(events);
    expect(textOf(all)).toBe("one ");
    expect(state).toEqual({ given: 8, closed: 1 });
    expect(all.at(-1)).toMatchObject({
      finishReason: "stop",
      timings: null,
      usage: { prompt_tokens: 4, cached_tokens: 3, completion_tokens_by_exit: { "3": 8 } },
    });
  });

  test("the tokens of a stop sequence are not emitted, those before it are", async () => {
    const { events } = setup("one STOP two", ["STOP"]);
    const tokens = (await Array.fromAsync(events)).flatMap((event) => (event.type === "text" ? event.tokens : []));
    expect(tokens.map(({ text }) => text).join("")).toBe("one ");
    const whole = setup("abSTcSTOPd", ["STOP"]); // the first ST is held, then turns out to be text
    const kept = (await Array.fromAsync(whole.events)).flatMap((event) => (event.type === "text" ? event.tokens : []));
    expect(kept.map(({ text }) => text).join("")).toBe("abSTc");
  });

  test("closing it before the first piece closes the token stream", async () => {
    const { events, state } = setup("never read", []);
    await events.return?.();
    expect(state).toEqual({ given: 0, closed: 1 });
  });

  test("text is not held back longer than a stop sequence could need", async () => {
    const { events } = setup("abcx", ["bcd"]);
    const pieces = (await Array.fromAsync(events)).flatMap((event) => (event.type === "text" ? [event.text] : []));
    expect(pieces).toEqual(["a", "bcx"]);
    expect(partialStop("abc", ["bcd"])).toBe(2);
  });
});
