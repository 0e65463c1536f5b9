/** Prompts of every kind to token ids, and their refusals. */
import { describe, expect, test } from "vitest";
import { TemplateError } from "../../src/model/chat-template.ts";
import { textPrefix } from "../../src/model/text-prefix.ts";
import { encodePrompt } from "../../src/prompt.ts";

const rim = (prefix: number[] = []) => ({
  bundle: { shape: { vocab_size: 100 } },
  tokenizer: {
    textPrefix: prefix,
    encode: (text: string) => Array.from(text, (char) => char.charCodeAt(0) - 32),
    bytesOf: (id: number) => Uint8Array.of(id + 32),
  },
  template: {
    encode(messages: readonly { content: string }[]) {
      if (messages.some(({ content }) => content === "again")) throw new TemplateError("roles must alternate");
      if (messages.some(({ content }) => content === "bug")) throw new Error("a bug");
      return [7, 8];
    },
  },
});
const encode = (prompt: Parameters<typeof encodePrompt>[1], prefix?: number[]) =>
  encodePrompt(rim(prefix) as never, prompt);

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
