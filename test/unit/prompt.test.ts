/** Prompts of every kind to token ids, and their refusals. */
import { describe, expect, test } from "vitest";
import { TemplateError } from "../../src/model/chat-template.ts";
import { textPrefix } from "../../src/model/text-prefix.ts";
import { encodingPrompt } from "../../src/prompt.ts";
import { finish } from "../../src/sliced.ts";

const rim = (prefix: number[] = []) => ({
  bundle: { shape: { vocab_size: 100, context_length: 4 } },
  tokenizer: {
    textPrefix: prefix,
    *encodeSlices([text]: string[], limit: number) {
      const ids = Array.from(text ?? "", (char) => char.charCodeAt(0) - 32);
      yield ids.length;
      return { ids, complete: ids.length <= limit };
    },
    bytesOf: (id: number) => Uint8Array.of(id + 32),
  },
  template: {
    *encodeSlices(messages: readonly { content: string }[], limit: number) {
      if (messages.some(({ content }) => content === "again")) throw new TemplateError("roles must alternate");
      if (messages.some(({ content }) => content === "bug")) throw new Error("a bug");
      const ids = [7, 8, ...messages.slice(1).map(() => 9)];
      yield ids.length;
      return { ids, complete: ids.length <= limit };
    },
  },
});
const encode = (prompt: Parameters<typeof encodingPrompt>[1], prefix?: number[]) =>
  finish(encodingPrompt(rim(prefix) as never, prompt));

describe("a prompt", () => {
  test("a conversation is the template's", () => {
    const messages = [{ role: "user" as const, content: "hi" }];
    const expected = { tokenIds: [7, 8], messages, startsText: true, param: "messages" };
    expect(encode({ kind: "messages", messages })).toEqual(expected);
  });

  test("text has the checkpoint's prefix and is the rest of nothing", () => {
    const messages = [{ role: "user", content: "AB" }];
    const expected = { tokenIds: [1, 33, 34], messages, startsText: false, param: "prompt" };
    expect(encode({ kind: "text", text: "AB" }, [1])).toEqual(expected);
  });

  test("ids are taken as they are; gate 1 reads their text", () => {
    const encoded = encode({ kind: "tokens", ids: [33, 34] }, [1]);
    expect(encoded).toMatchObject({ tokenIds: [33, 34], messages: [{ role: "user", content: "AB" }] });
  });

  test.each([
    ["no token", { kind: "text", text: "" }, { param: "prompt", code: "empty_prompt" }],
    ["an id outside the vocabulary", { kind: "tokens", ids: [99, 100] }, { param: "prompt", code: "invalid_token" }],
    [
      "a conversation that the template refuses",
      { kind: "messages", messages: [{ role: "user", content: "again" }] },
      { param: "messages", code: "invalid_messages", message: expect.stringContaining("roles must alternate") },
    ],
    [
      "text that cannot fit",
      { kind: "text", text: "ABCDE" },
      { param: "prompt", code: "context_length_exceeded", message: expect.stringContaining("prompt alone has more") },
    ],
    ["ids that cannot", { kind: "tokens", ids: [1, 2, 3, 4, 5] }, { param: "prompt", code: "context_length_exceeded" }],
    [
      "a conversation that cannot",
      { kind: "messages", messages: Array(4).fill({ role: "user", content: "hi" }) },
      {
        param: "messages",
        code: "context_length_exceeded",
        message: expect.stringContaining("messages alone have more"),
      },
    ],
  ] as const)("%s: 400", (_, prompt, expected) => {
    expect(() => encode(prompt)).toThrow(expect.objectContaining({ status: 400, ...expected }));
  });

  test("an error of ours stays one", () => {
    const broken = { kind: "messages", messages: [{ role: "user", content: "bug" }] } as const;
    expect(() => encode(broken)).toThrow("a bug");
  });
});

describe("a checkpoint's prefix of plain text", () => {
  const llama = {
    type: "TemplateProcessing",
    single: [
      { SpecialToken: { id: "<s>", type_id: 0 } },
      { Sequence: { id: "A", type_id: 0 } },
      { SpecialToken: { id: "</s>" } },
    ],
    special_tokens: { "<s>": { id: "<s>", ids: [1], tokens: ["<s>"] }, "</s>": { id: "</s>", ids: [2] } },
  };
  test.each([
    ["LLaMA 2", llama, [1]],
    ["LLaMA 3", { type: "Sequence", processors: [{ type: "ByteLevel", trim_offsets: true }, llama] }, [1]],
    ["text alone", { ...llama, single: [{ Sequence: { id: "A" } }] }, []],
    ["byte level", { type: "ByteLevel" }, []],
    ["none", null, []],
    ["absent", undefined, []],
  ])("%s", (_, processor, ids) => expect(textPrefix(processor)).toEqual(ids));
});
