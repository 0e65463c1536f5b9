import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { chatCompletionSchema, toChatRequest } from "../../src/api/chat-request.ts";
import { foldSeed } from "../../src/api/fields.ts";
import { requestError } from "../../src/api/request-error.ts";

const user = { role: "user", content: "hi" };
const minimal = { model: "tiny", messages: [user] };

/** The error of a body, as the client gets it. */
function refusalOf(body: unknown) {
  const parsed = chatCompletionSchema.safeParse(body);
  if (parsed.success) throw new Error(`accepted: ${JSON.stringify(body)}`);
  return requestError(parsed.error, body).toBody().error;
}

const messagesOf = (fields: object) => {
  const [prompt] = accepted(fields).prompts;
  return prompt?.kind === "messages" ? prompt.messages : null;
};
const accepted = (fields: object) => toChatRequest(chatCompletionSchema.parse({ ...minimal, ...fields }), "id", 7);

describe("what is accepted", () => {
  test("the least a request can be, with OpenAI's defaults", () => {
    expect(accepted({})).toEqual({
      requestId: "id",
      model: "tiny",
      prompts: [{ kind: "messages", messages: [user] }],
      choices: 1,
      maxTokens: null,
      stop: [],
      topLogprobs: null,
      narrowing: {},
      earlyExit: null,
      sampling: {
        temperature: 1,
        top_p: 1,
        top_k: 0,
        min_p: 0,
        repetition_penalty: 1,
        presence_penalty: 0,
        frequency_penalty: 0,
        seed: 7,
      },
    });
  });

  test("text parts are joined, developer is system", () => {
    const parts = [
      { type: "text", text: "one " },
      { type: "text", text: "two" },
    ];
    const messages = [
      { role: "developer", content: "be brief" },
      { role: "user", content: parts },
    ];
    expect(messagesOf({ messages })).toEqual([
      { role: "system", content: "be brief" },
      { role: "user", content: "one two" },
    ]);
  });

  test("an answer sent back as it came", () => {
    const answer = { role: "assistant", content: "Paris", refusal: null, annotations: [], tool_calls: null };
    expect(messagesOf({ messages: [user, answer, user] })?.[1]).toEqual({ role: "assistant", content: "Paris" });
  });

  test("how the request narrows the exits arrives, within bounds", () => {
    const sortie = { quality: 0.95, min_exit: 6, max_exit: 9 };
    expect(accepted({ sortie }).narrowing).toEqual(sortie);
    expect(accepted({ sortie: { ...sortie, early_exit: 0.9 } })).toMatchObject({ narrowing: sortie, earlyExit: 0.9 });
    expect(accepted({ sortie: null }).narrowing).toEqual({});
    for (const wrong of [{ quality: 0 }, { quality: 1.01 }, { min_exit: 0 }, { max_exit: 1.5 }, { exit: 3 }]) {
      expect(chatCompletionSchema.safeParse({ ...minimal, sortie: wrong }).success).toBe(false);
    }
  });

  test("every sampling parameter arrives", () => {
    const sampling = {
      temperature: 0,
      top_p: 0.5,
      top_k: 40,
      min_p: 0.1,
      repetition_penalty: 1.1,
      presence_penalty: -2,
      frequency_penalty: 2,
      seed: 42,
    };
    expect(accepted(sampling).sampling).toEqual(sampling);
  });

  test("null is absent", () => {
    const nulls = ["max_tokens", "temperature", "top_p", "n", "stop", "seed", "logprobs", "top_logprobs", "stream"];
    const more = ["stream_options", "response_format", "user", "metadata", "store", "tools", "logit_bias", "top_k"];
    expect(accepted(Object.fromEntries([...nulls, ...more].map((key) => [key, null])))).toEqual(accepted({}));
  });

  test("parameters that change nothing change nothing", () => {
    const inert = {
      user: "acme",
      metadata: { team: "a" },
      store: false,
      service_tier: "auto",
      response_format: { type: "text" },
      n: 1,
      tools: [],
      tool_choice: "none",
      parallel_tool_calls: true,
      logit_bias: {},
      modalities: ["text"],
      stream: true,
      stream_options: { include_obfuscation: false },
    };
    expect(accepted(inert)).toEqual(accepted({}));
  });

  test.each([
    [{ max_tokens: 5 }, 5],
    [{ max_completion_tokens: 6 }, 6],
    [{ max_tokens: null, max_completion_tokens: 6 }, 6],
  ])("%j: at most %i tokens", (fields, expected) => {
    expect(accepted(fields).maxTokens).toBe(expected);
  });

  test.each([
    [{}, null],
    [{ logprobs: false }, null],
    [{ logprobs: true }, 0],
    [{ logprobs: true, top_logprobs: 3 }, 3],
  ])("%j: log-probabilities %j", (fields, expected) => {
    expect(accepted(fields).topLogprobs).toBe(expected);
  });

  test("several choices", () => {
    expect(accepted({ n: 3 }).choices).toBe(3);
  });

  test("one stop sequence or four", () => {
    expect(accepted({ stop: "\n" }).stop).toEqual(["\n"]);
    expect(accepted({ stop: ["a", "b", "c", "d"] }).stop).toEqual(["a", "b", "c", "d"]);
  });
});

describe("what is refused, by name", () => {
  const withMessage = (message: unknown) => ({ model: "tiny", messages: [user, message] });
  const part = (value: unknown) => withMessage({ role: "user", content: [{ type: "text", text: "a" }, value] });
  test.each<[string, unknown, string | null, string]>([
    ["no object", [], null, "invalid_type"],
    ["nothing", {}, "model", "missing_required_parameter"],
    ["no messages", { model: "tiny" }, "messages", "missing_required_parameter"],
    ["empty messages", { model: "tiny", messages: [] }, "messages", "empty_array"],
    ["too many messages", { model: "tiny", messages: Array(2049).fill(user) }, "messages", "array_above_max_length"],
    ["a long model id", { ...minimal, model: "m".repeat(129) }, "model", "string_above_max_length"],
    ["a tool's message", withMessage({ role: "tool", content: "x" }), "messages[1].role", "invalid_value"],
    ["no content", withMessage({ role: "user" }), "messages[1].content", "missing_required_parameter"],
    ["null content", withMessage({ role: "assistant", content: null }), "messages[1].content", "invalid_type"],
    ["content of another type", withMessage({ role: "user", content: 3 }), "messages[1].content", "invalid_type"],
    ["no parts", withMessage({ role: "user", content: [] }), "messages[1].content", "empty_array"],
    ["a part that is text", part("a"), "messages[1].content[1]", "invalid_type"],
    ["an image", part({ type: "image_url", image_url: {} }), "messages[1].content[1].type", "invalid_value"],
    ["a part without text", part({ type: "text" }), "messages[1].content[1].text", "missing_required_parameter"],
    ["a name", withMessage({ ...user, name: "bob" }), "messages[1].name", "unsupported_parameter"],
    ["tool calls", withMessage({ ...user, tool_calls: [{}] }), "messages[1].tool_calls", "unsupported_parameter"],
    ["an unknown message key", withMessage({ ...user, mood: 1 }), "messages[1].mood", "unknown_parameter"],
    ["tools", { ...minimal, tools: [{}] }, "tools", "unsupported_parameter"],
    ["functions", { ...minimal, functions: [{}] }, "functions", "unsupported_parameter"],
    ["logit_bias", { ...minimal, logit_bias: { 5: 1 } }, "logit_bias", "unsupported_parameter"],
    ["audio", { ...minimal, modalities: ["text", "audio"] }, "modalities", "unsupported_parameter"],
    ["reasoning_effort", { ...minimal, reasoning_effort: "high" }, "reasoning_effort", "unsupported_parameter"],
    ["an unknown parameter", { ...minimal, temprature: 1 }, "temprature", "unknown_parameter"],
    ["no choice", { ...minimal, n: 0 }, "n", "integer_below_min_value"],
    ["17 choices", { ...minimal, n: 17 }, "n", "integer_above_max_value"],
    ["storing", { ...minimal, store: true }, "store", "invalid_value"],
    ["JSON mode", { ...minimal, response_format: { type: "json_object" } }, "response_format.type", "invalid_value"],
    ["negative max_tokens", { ...minimal, max_tokens: -1 }, "max_tokens", "integer_below_min_value"],
    ["zero max_tokens", { ...minimal, max_tokens: 0 }, "max_tokens", "integer_below_min_value"],
    ["half a token", { ...minimal, max_tokens: 1.5 }, "max_tokens", "invalid_type"],
    ["two limits", { ...minimal, max_tokens: 1, max_completion_tokens: 2 }, "max_tokens", "invalid_value"],
    ["one limit twice", { ...minimal, max_tokens: 1, max_completion_tokens: 1 }, "max_tokens", "invalid_value"],
    ["too hot", { ...minimal, temperature: 2.5 }, "temperature", "decimal_above_max_value"],
    ["a temperature in words", { ...minimal, temperature: "1" }, "temperature", "invalid_type"],
    ["a nucleus of nothing", { ...minimal, top_p: 0 }, "top_p", "integer_below_min_value"],
    ["a seed JSON rounds", { ...minimal, seed: 2 ** 60 }, "seed", "integer_above_max_value"],
    ["five stop sequences", { ...minimal, stop: ["a", "b", "c", "d", "e"] }, "stop", "array_above_max_length"],
    ["an empty stop", { ...minimal, stop: "" }, "stop", "empty_string"],
    ["an empty stop among others", { ...minimal, stop: ["a", ""] }, "stop[1]", "empty_string"],
    ["a stop of another type", { ...minimal, stop: 5 }, "stop", "invalid_type"],
    ["top_logprobs alone", { ...minimal, top_logprobs: 2 }, "top_logprobs", "invalid_value"],
    ["21 top_logprobs", { ...minimal, logprobs: true, top_logprobs: 21 }, "top_logprobs", "integer_above_max_value"],
    ["stream_options alone", { ...minimal, stream_options: {} }, "stream_options", "invalid_value"],
    ["metadata of numbers", { ...minimal, metadata: { a: 1 } }, "metadata.a", "invalid_type"],
  ])("%s", (_, body, param, code) => {
    const error = refusalOf(body);
    expect(error).toMatchObject({ type: "invalid_request_error", param, code });
    if (param !== null) expect(error.message).toContain(`'${param}'`);
  });

  test("what is quoted back is short", () => {
    const long = "x".repeat(5000);
    for (const body of [
      { ...minimal, [long]: 1 },
      { ...minimal, metadata: { [long]: "1" } },
      { ...minimal, n: long },
    ]) {
      expect(JSON.stringify(refusalOf(body)).length).toBeLessThan(500);
    }
  });

  test("whatever the body, it is accepted or refused with all four keys", () => {
    const keys = fc.constantFrom("model", "messages", "stop", "n", "metadata", "stream_options", "foo", "tools");
    const body = fc.oneof(fc.jsonValue(), fc.dictionary(keys, fc.jsonValue()));
    fc.assert(
      fc.property(body, (value) => {
        const parsed = chatCompletionSchema.safeParse(value);
        if (parsed.success) return;
        const { error } = requestError(parsed.error, value).toBody();
        expect(Object.keys(error)).toEqual(["message", "type", "param", "code"]);
        expect(error.message.length).toBeGreaterThan(0);
      }),
      { numRuns: 500 },
    );
  });
});

describe("seeds", () => {
  test("32-bit seeds stay, larger and negative ones fold into 32 bits", () => {
    fc.assert(fc.property(fc.integer({ min: 0, max: 0xffffffff }), (seed) => foldSeed(seed) === seed));
    fc.assert(
      fc.property(fc.maxSafeInteger(), (seed) => {
        const folded = foldSeed(seed);
        return Number.isInteger(folded) && folded >= 0 && folded <= 0xffffffff;
      }),
    );
    expect(foldSeed(2 ** 32)).not.toBe(foldSeed(0));
  });
});
