/** The client of an OpenAI-compatible engine, against engines that are good, odd and bad. */
import { describe, expect, it } from "vitest";
import type { OpenaiExit } from "../../src/env.ts";
import { type GenerationRequest, samplingSchema, type TokenEvent } from "../../src/generation.ts";
import { textRim } from "../../src/openai-exits.ts";
import { generateOpenai, type TextRim } from "../../src/origin/openai-exit.ts";
import type { Tokenizer } from "../../src/model/tokenizer.ts";

const ENGINE: OpenaiExit = {
  exit: 9,
  url: "http://engine.example/v1/",
  model: "view-9",
  key: "secret",
  prompt: "ids",
  answer: "text",
};
const REQUEST: GenerationRequest = {
  request_id: "r-1",
  token_ids: [1, 104, 105],
  answer_tokens: 1,
  exit_layer: 9,
  max_tokens: 4,
  sampling: samplingSchema.parse({ temperature: 0.5, top_p: 0.9, seed: 7 }),
  top_logprobs: 0,
  stop_token_ids: [2],
};
/** One id a character. */
const RIM: TextRim = { vocabulary: 300, idsOf: (text) => Array.from(text, (c) => c.charCodeAt(0)), textOf: () => "hi" };

const chunk = (choice: object): string => `data: ${JSON.stringify({ choices: [{ index: 0, ...choice }] })}\n\n`;
const DONE = "data: [DONE]\n\n";

interface Sent {
  url?: string;
  headers?: Record<string, string>;
  body?: Record<string, unknown>;
}

/** An engine that answers with these bytes. */
function engine(text: string, init: ResponseInit = {}, sent: Sent = {}): typeof fetch {
  return async (input, request) => {
    sent.url = input as string;
    sent.headers = request?.headers as Record<string, string>;
    sent.body = JSON.parse(request?.body as string) as Record<string, unknown>;
    return new Response(text, { headers: { "content-type": "text/event-stream" }, ...init });
  };
}

async function answer(send: typeof fetch, exit = ENGINE): Promise<TokenEvent[]> {
  const events: TokenEvent[] = [];
  for await (const event of await generateOpenai(exit, REQUEST, RIM, undefined, send)) events.push(event);
  return events;
}
const idsOf = (events: readonly TokenEvent[]): number[] => events.flatMap((it) => (it.type === "token" ? [it.id] : []));

describe("a good engine", () => {
  it("is asked for what was asked, and no more", async () => {
    const sent: Sent = {};
    await answer(engine(chunk({ text: "a", finish_reason: "stop" }) + DONE, {}, sent));
    expect(sent.url).toBe("http://engine.example/v1/completions");
    expect(sent.headers).toMatchObject({ authorization: "Bearer secret" });
    expect(sent.body).toEqual({
      model: "view-9",
      prompt: [1, 104, 105],
      stream: true,
      max_tokens: 4,
      temperature: 0.5,
      seed: 7,
      top_p: 0.9,
    });
    await answer(engine(DONE, {}, sent), { ...ENGINE, prompt: "text" });
    expect(sent.body?.["prompt"]).toBe("hi");
    await answer(engine(DONE, {}, sent), { ...ENGINE, answer: "ids" });
    expect(sent.body?.["return_token_ids"]).toBe(true);
  });

  it("gives its own ids, or text that becomes ids; then exactly one end", async () => {
    const own = chunk({ text: "xy", token_ids: [7, 8] }) + chunk({ text: "", finish_reason: "length" }) + DONE;
    const events = await answer(engine(own));
    expect(idsOf(events)).toEqual([7, 8]);
    expect(events.at(-1)).toMatchObject({
      type: "end",
      finish_reason: "length",
      usage: { prompt_tokens: 2, cached_tokens: 0, completion_tokens_by_exit: { 9: 2 } },
    });
    expect(idsOf(await answer(engine(chunk({ text: "ab" }) + DONE)))).toEqual([97, 98]);
  });

  it("may tell the id that ended its answer: no token of it", async () => {
    const own =
      chunk({ text: "x", token_ids: [7] }) + chunk({ text: "", token_ids: [2], finish_reason: "stop" }) + DONE;
    expect(idsOf(await answer(engine(own)))).toEqual([7]);
  });

  it("is never charged beyond max_tokens", async () => {
    expect(idsOf(await answer(engine(chunk({ text: "abcdefgh" }) + DONE)))).toHaveLength(4);
  });
});

describe("a bad engine", () => {
  it.each([
    ["429", "", { status: 429, headers: { "retry-after": "3" } }, "overloaded"],
    ["500", "", { status: 500 }, "unreachable"],
    ["401", "", { status: 401 }, "refused"],
    ["no stream", "{}", { headers: { "content-type": "application/json" } }, "malformed"],
    ["not JSON", "data: {nope\n\n", {}, "malformed"],
    ["another schema", 'data: {"choices": 1}\n\n', {}, "malformed"],
    ["an error in mid-stream", `${chunk({ text: "a" })}data: {"error": {"message": "boom"}}\n\n`, {}, "interrupted"],
    ["half a stream", chunk({ text: "a" }), {}, "interrupted"],
  ])("%s is told apart", async (_, text, init, kind) => {
    await expect(answer(engine(text, init))).rejects.toMatchObject({ kind });
  });

  it("an id outside the vocabulary is told apart", async () => {
    await expect(answer(engine(chunk({ text: "", token_ids: [300] }) + DONE))).rejects.toMatchObject({
      kind: "malformed",
    });
  });

  it("may not send us away for ever", async () => {
    const busy = engine("", { status: 429, headers: { "retry-after": "9999999" } });
    await expect(answer(busy)).rejects.toMatchObject({ retryAfterSeconds: 60 });
  });

  it("sends tokens after a stop id in the same chunk: they are not told", async () => {
    const events = await answer(engine(chunk({ text: "", token_ids: [7, 2, 8] }) + chunk({ text: "x" }) + DONE));
    expect(idsOf(events)).toEqual([7]);
    expect(events.at(-1)).toMatchObject({ type: "end", finish_reason: "stop" });
  });

  it("answers another choice than the one asked for: it is not listened to", async () => {
    const other = `data: ${JSON.stringify({ choices: [{ index: 1, text: "no" }] })}\n\n`;
    expect(idsOf(await answer(engine(other + chunk({ text: "a" }) + DONE)))).toEqual([97]);
  });

  /** An engine that never ends: it sends this again and again. */
  function endless(first: string, again: string): { send: typeof fetch; left: () => boolean } {
    let left = false;
    const encoder = new TextEncoder();
    const send: typeof fetch = async () => {
      let begun = false;
      const body = new ReadableStream({
        async pull(controller) {
          await new Promise((resolve) => setTimeout(resolve, 1));
          controller.enqueue(encoder.encode(begun ? again : first));
          begun = true;
        },
        cancel: () => void (left = true),
      });
      return new Response(body, { headers: { "content-type": "text/event-stream" } });
    };
    return { send, left: () => left };
  }

  it("ignores max_tokens: the answer ends all the same, and the engine is left", async () => {
    const { send } = endless(chunk({ text: "a" }), chunk({ text: "b" }));
    const events = await answer(send);
    expect(idsOf(events)).toHaveLength(4);
    expect(events.at(-1)).toMatchObject({ type: "end", finish_reason: "length" });
  });

  it.each([
    ["chunks without text", chunk({ text: "" }), "timeout"],
    ["comments", ": ping\n\n", "timeout"],
    ["comments by the megabyte", `: ${"x".repeat(8_000)}\n\n`, "malformed"],
  ])("sends %s for ever: the answer breaks off", async (_, again, kind) => {
    const { send } = endless(chunk({ text: "a" }), again);
    const timeouts = { connectMs: 500, firstEventMs: 500, idleMs: 200, tokenMs: 1_000 };
    const read = async (): Promise<void> => {
      for await (const event of await generateOpenai(ENGINE, REQUEST, RIM, undefined, send, timeouts)) void event;
    };
    await expect(read()).rejects.toMatchObject({ kind });
  });

  it("drips: the whole answer has a deadline, too", async () => {
    const { send } = endless(chunk({ text: "a" }), chunk({ text: "b" }));
    const slow: typeof fetch = async (...args) => {
      const response = await send(...args);
      const dripping = response.body!.pipeThrough(
        new TransformStream({
          async transform(part, controller) {
            await new Promise((resolve) => setTimeout(resolve, 60));
            controller.enqueue(part);
          },
        }),
      );
      return new Response(dripping, response);
    };
    const timeouts = { connectMs: 500, firstEventMs: 100, idleMs: 500, tokenMs: 10 };
    const read = async (): Promise<void> => {
      for await (const event of await generateOpenai(ENGINE, REQUEST, RIM, undefined, slow, timeouts)) void event;
    };
    await expect(read()).rejects.toMatchObject({
      kind: "timeout",
      message: expect.stringContaining("the answer's end"),
    });
  });

  it("is left when its reader leaves", async () => {
    let aborted = false;
    const send: typeof fetch = async (_, init) => {
      init?.signal?.addEventListener("abort", () => (aborted = true));
      return engine(chunk({ text: "abcd" }) + DONE)("http://engine.example", init);
    };
    for await (const event of await generateOpenai(ENGINE, REQUEST, RIM, undefined, send)) {
      expect(event.type).toBe("token");
      break;
    }
    expect(aborted).toBe(true);
  });
});

describe("text for engines that take no ids", () => {
  const tokenizer = {
    controlTokens: new Map([
      ["<s>", 1],
      ["<end>", 2],
    ]),
    stripsLeadingSpace: false,
    textPrefix: [1],
    bytesOf: (id: number) => Uint8Array.of(id),
    encode: (text: string) => Array.from(text, (c) => c.charCodeAt(0)),
  } as unknown as Tokenizer;
  const plain = (text: string): number[] => Array.from(text, (c) => c.charCodeAt(0));

  it("spells control tokens and leaves the engine's own prefix to it", () => {
    expect(textRim(tokenizer, 300).textOf([1, ...plain("hi"), 2, ...plain("you")])).toBe("hi<end>you");
  });

  it("is refused where a user's text would become a control token", () => {
    expect(textRim(tokenizer, 300).textOf([1, ...plain("so <end> it")])).toBeNull();
  });

  it("needs an engine's ids where pieces of text cannot be told from texts", () => {
    expect(() => textRim({ ...tokenizer, stripsLeadingSpace: true }, 300).idsOf("a")).toThrow(/ids/);
  });
});
