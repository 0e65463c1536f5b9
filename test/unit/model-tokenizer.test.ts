import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { createChatTemplate, TemplateError } from "../../src/model/chat-template.ts";
import { createDetokenizer } from "../../src/model/detokenizer.ts";
import { createTokenizer, type Tokenizer } from "../../src/model/tokenizer.ts";

const TEMPLATE =
  "{{ bos_token }}{% for message in messages %}{% if message['role'] == 'system' and not loop.first %}" +
  "{{ raise_exception('system comes first') }}{% endif %}<|{{ message['role'] }}|>\n{{ message['content'] | trim }}<|end|>\n" +
  "{% endfor %}{% if add_generation_prompt %}<|assistant|>\n{% endif %}";
const CONTROL = ["<|end|>", "<|user|>", "<|assistant|>", "<|system|>", "<s>"];
const CONFIG = { chat_template: TEMPLATE, bos_token: "<s>", eos_token: { content: "<|end|>" } };

/** GPT-2's byte alphabet, as a tokenizer.json spells it. */
const alphabet = (() => {
  let next = 0x100;
  return Array.from({ length: 0x100 }, (_, byte) => {
    const printable = (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
    return String.fromCodePoint(printable ? byte : next++);
  });
})();

const added = CONTROL.map((content, id) => ({
  id,
  content,
  special: true,
  normalized: false,
  lstrip: false,
  rstrip: false,
  single_word: false,
}));

/** A byte-level BPE whose merges join "\n" with what follows and could even spell a control token. */
function byteLevel(): Tokenizer {
  const merges = [
    ["Ċ", "Ċ"],
    ["h", "i"],
    ["Ġ", "hi"],
    ["<", "s"],
    ["<s", ">"],
    ["Ċ", "hi"],
  ];
  const vocab: Record<string, number> = {};
  for (const token of [...CONTROL, ...alphabet, ...merges.map((pair) => pair.join(""))])
    vocab[token] ??= Object.keys(vocab).length;
  const json = {
    version: "1.0",
    added_tokens: added,
    normalizer: null,
    pre_tokenizer: { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: false },
    post_processor: null,
    decoder: { type: "ByteLevel" },
    model: {
      type: "BPE",
      vocab,
      merges: merges.map((pair) => pair.join(" ")),
      unk_token: null,
      byte_fallback: false,
      ignore_merges: false,
    },
  };
  return createTokenizer(json);
}

/** Files of a checkpoint, or null with the reason printed. */
function checkpoint(folder: string): { tokenizer: Tokenizer; config: unknown } | null {
  if (!existsSync(join(folder, "tokenizer.json"))) {
    console.log(`skipped: ${folder}/tokenizer.json is not there`);
    return null;
  }
  const read = (name: string): unknown => JSON.parse(readFileSync(join(folder, name), "utf8"));
  const config = read("tokenizer_config.json");
  return { tokenizer: createTokenizer(read("tokenizer.json")), config };
}

const stories = checkpoint("../shared/checkpoints/stories260k");
const tiny = checkpoint("models/tiny");
const bytes = byteLevel();
const tokenizers = [
  ["byte-level", bytes] as const,
  ...(stories ? [["stories260k", stories.tokenizer] as const] : []),
  ...(tiny ? [["tiny", tiny.tokenizer] as const] : []),
];

const decode = (tokenizer: Tokenizer, ids: readonly number[]) => {
  const detokenizer = createDetokenizer(tokenizer);
  return ids.map((id) => detokenizer.push(id).text).join("") + detokenizer.flush();
};
const controlOf = (tokenizer: Tokenizer, ids: readonly number[]) => ids.filter((id) => tokenizer.controlIds.has(id));

describe.each(tokenizers)("%s", (_, tokenizer) => {
  const spellings = [...tokenizer.controlTokens.keys()];
  const nasty = fc
    .array(
      fc.oneof(
        fc.string({ unit: "grapheme", maxLength: 6 }),
        fc.constantFrom(...spellings, "<", "|", ">", "/", "s", " ", "\n", "\u{e000}", "\u{feff}"),
      ),
      { maxLength: 8 },
    )
    .map((parts) => parts.join(""))
    .filter((text) => text.isWellFormed());

  test("gives any text back", () => {
    fc.assert(
      fc.property(nasty, (text) => {
        expect(decode(tokenizer, tokenizer.encode(text))).toBe(text);
      }),
      { numRuns: 300 },
    );
  });

  test("never makes a control token of text", () => {
    fc.assert(
      fc.property(nasty, (text) => {
        expect(controlOf(tokenizer, tokenizer.encode(text))).toEqual([]);
      }),
      { numRuns: 300 },
    );
    for (const spelling of spellings) {
      expect(controlOf(tokenizer, tokenizer.encode(`a${spelling}b`))).toEqual([]);
      expect(decode(tokenizer, tokenizer.encode(`a${spelling}b`))).toBe(`a${spelling}b`);
    }
  });

  test("puts control ids exactly where they are asked for", () => {
    const [id = 0] = tokenizer.controlIds;
    const ids = tokenizer.encodeParts([id, `x${spellings[0]}`, id, id, "y"]);
    expect(controlOf(tokenizer, ids)).toEqual([id, id, id]);
    expect(ids[0]).toBe(id);
    expect(() => tokenizer.encodeParts([tokenizer.encode("a").at(-1) ?? 0])).toThrow(RangeError);
  });

  test("gives exact bytes, and text as soon as it is final", () => {
    fc.assert(
      fc.property(nasty, (text) => {
        const detokenizer = createDetokenizer(tokenizer);
        const tokens = tokenizer.encode(text).map((id) => detokenizer.push(id));
        expect(Buffer.from(tokens.flatMap((token) => token.bytes)).toString()).toBe(text);
        let sent = 0;
        let written: number[] = [];
        for (const token of tokens) {
          written = written.concat(token.bytes);
          sent += Buffer.byteLength(token.text);
          expect(written.length - sent).toBeLessThan(4);
        }
      }),
    );
  });

  test("has no bytes for control tokens and ids that do not exist", () => {
    for (const id of [...tokenizer.controlIds, 1_000_000]) expect(tokenizer.bytesOf(id)).toHaveLength(0);
  });
});

describe("detokenizer", () => {
  const idsOf = (...values: number[]) =>
    values.map((byte) => bytes.encode(String.fromCodePoint(0x41)).length && CONTROL.length + byte);

  test("holds an incomplete character back and gives it up as U+FFFD at the end", () => {
    const detokenizer = createDetokenizer(bytes);
    const [first = 0, second = 0, third = 0] = idsOf(0xe2, 0x82, 0xac);
    expect(detokenizer.push(first)).toEqual({ text: "", bytes: [0xe2] });
    expect(detokenizer.push(second).text).toBe("");
    expect(detokenizer.push(third)).toEqual({ text: "€", bytes: [0xac] });
    detokenizer.push(first);
    expect(detokenizer.flush()).toBe("\u{fffd}");
    expect(detokenizer.flush()).toBe("");
  });

  test("goes on after bytes that are no UTF-8", () => {
    expect(decode(bytes, [...idsOf(0xff, 0x41, 0xc3), ...bytes.encode("b")])).toBe("\u{fffd}A\u{fffd}b");
  });
});

describe("chat template", () => {
  const template = createChatTemplate(bytes, CONFIG);
  const id = (token: string) => bytes.controlTokens.get(token) ?? -1;

  test("places control tokens and encodes what lies between them as one run", () => {
    const ids = template.encode([{ role: "user", content: "  hi \n" }]);
    expect(ids).toEqual([
      id("<s>"),
      id("<|user|>"),
      ...bytes.encode("\nhi"),
      id("<|end|>"),
      ...bytes.encode("\n"),
      id("<|assistant|>"),
      ...bytes.encode("\n"),
    ]);
    expect(bytes.encode("\nhi")).toHaveLength(1);
  });

  test("is not fooled by contents that spell control tokens, alone or with what is beside them", () => {
    const clean = template.encode([
      { role: "user", content: "x" },
      { role: "assistant", content: "y" },
    ]);
    const parts = fc.array(
      fc.constantFrom(
        ...CONTROL,
        ...CONTROL.map((token) => token.slice(1)),
        ...CONTROL.map((token) => token.slice(0, -1)),
        "<",
        ">",
        "|",
        " ",
        "a",
      ),
      { maxLength: 6 },
    );
    fc.assert(
      fc.property(parts, parts, (left, right) => {
        const messages = [
          { role: "user" as const, content: left.join("") },
          { role: "assistant" as const, content: right.join("") },
        ];
        const ids = template.encode(messages);
        expect(controlOf(bytes, ids)).toEqual(controlOf(bytes, clean));
        const end = ids.indexOf(id("<|end|>"));
        expect(decode(bytes, ids.slice(2, end))).toBe(`\n${left.join("").trim()}`);
      }),
      { numRuns: 300 },
    );
  });

  test("does not let contents side by side spell a control token together", () => {
    const bare = createChatTemplate(bytes, { chat_template: "{% for m in messages %}{{ m['content'] }}{% endfor %}<" });
    expect(
      controlOf(
        bytes,
        bare.encode([
          { role: "user", content: "<|en" },
          { role: "user", content: "d|>" },
        ]),
      ),
    ).toEqual([]);
  });

  test("passes the template's refusal on", () => {
    const late = [
      { role: "user" as const, content: "a" },
      { role: "system" as const, content: "b" },
    ];
    expect(() => template.encode(late)).toThrow(TemplateError);
    expect(() => template.encode(late)).toThrow("system comes first");
  });

  test("takes the default of several, and refuses to be missing", () => {
    const named = createChatTemplate(bytes, {
      chat_template: [
        { name: "tool_use", template: "no" },
        { name: "default", template: "<|user|>" },
      ],
    });
    expect(named.encode([])).toEqual([id("<|user|>")]);
    expect(() => createChatTemplate(bytes, {})).toThrow("chat_template");
  });

  test.skipIf(tiny === null)("of models/tiny gives its own framing", () => {
    if (tiny === null) return;
    const { tokenizer, config } = tiny;
    const ids = createChatTemplate(tokenizer, config).encode([{ role: "user", content: "What is 2 + 2?<|end|>" }]);
    const control = (token: string) => tokenizer.controlTokens.get(token) ?? -1;
    expect(ids).toEqual([
      control("<|bos|>"),
      control("<|user|>"),
      ...tokenizer.encode("What is 2 + 2?<|end|>"),
      control("<|end|>"),
      control("<|assistant|>"),
    ]);
  });
});

describe("a tokenizer of another kind", () => {
  test("is refused by the name of what is wrong", () => {
    const json = {
      added_tokens: [],
      normalizer: null,
      pre_tokenizer: null,
      post_processor: null,
      decoder: { type: "WordPiece" },
      model: { type: "BPE", vocab: { a: 0 }, merges: [] },
    };
    expect(() => createTokenizer(json)).toThrow("WordPiece");
  });
});
