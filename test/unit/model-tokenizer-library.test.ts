/** Our ids are those of Hugging Face's library, for real tokenizers and for thousands made at random. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { Tokenizer as Library } from "@huggingface/tokenizers";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { byteCharacters } from "../../src/model/token-bytes.ts";
import { createTokenizer } from "../../src/model/tokenizer.ts";
import { finish } from "../../src/sliced.ts";

const RUNS = { numRuns: 400 };
/** Few letters, so that random merges meet. */
const LETTERS = ["a", "b", "c", " ", "1", "\n", "é"];
const GPT2 = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";
const LLAMA3 =
  "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";

type Json = Record<string, unknown> & { model: Record<string, unknown> };

const texts = fc
  .array(
    fc.oneof(
      fc.constantFrom(
        ...LETTERS,
        "aab",
        "  ",
        "\r\n",
        "ab ab",
        "don't",
        "1234567",
        "<x>",
        "[y]",
        "\u0301",
        "世界",
        "🙂",
      ),
      fc.string({ unit: "grapheme", maxLength: 4 }),
      fc.string({ unit: "binary", maxLength: 2 }), // lone surrogates
      fc.tuple(fc.constantFrom(...LETTERS), fc.integer({ min: 40, max: 300 })).map(([letter, n]) => letter.repeat(n)),
    ),
    { maxLength: 10 },
  )
  .map((parts) => parts.join(""));

function sameIds(json: Json, text: string): void {
  const expected = new Library(json, {}).encode(text, { add_special_tokens: false }).ids;
  expect(createTokenizer(json).encode(text)).toEqual(expected.filter((id) => id !== undefined));
}

describe.each(["models/tiny", "../shared/checkpoints/stories260k", "../shared/checkpoints/babyllama-char361"])(
  "%s",
  (folder) => {
    const file = join(folder, "tokenizer.json");
    test.skipIf(!existsSync(file))(`has the library's ids (skipped where ${file} is not there)`, () => {
      const json = JSON.parse(readFileSync(file, "utf8")) as Json;
      const library = new Library(json, {});
      const tokenizer = createTokenizer(json);
      fc.assert(
        fc.property(texts, (text) => {
          expect(tokenizer.encode(text)).toEqual(library.encode(text, { add_special_tokens: false }).ids);
        }),
        { numRuns: 1_000 },
      );
    });
  },
);

/** Merges of what is there already: picks are taken among all tokens so far. */
function vocabularyOf(alphabet: readonly string[], picks: readonly (readonly [number, number])[]) {
  const tokens = [...alphabet];
  const merges: [string, string][] = [];
  for (const [left, right] of picks) {
    const pair: [string, string] = [tokens[left % tokens.length]!, tokens[right % tokens.length]!];
    if (pair.join("").length > 12) continue;
    merges.push(pair);
    if (!tokens.includes(pair.join(""))) tokens.push(pair.join(""));
  }
  return { vocab: Object.fromEntries(tokens.map((token, id) => [token, id])), merges };
}

const picks = fc.array(fc.tuple(fc.nat({ max: 40 }), fc.nat({ max: 40 })), { minLength: 5, maxLength: 40 });
const flags = fc.record({ ignores: fc.boolean(), fuses: fc.boolean(), asText: fc.boolean() });
const addedTokens = fc
  .array(fc.record({ normalized: fc.boolean(), lstrip: fc.boolean(), rstrip: fc.boolean() }), { maxLength: 2 })
  .map((options) =>
    options.map((each, at) => ({ ...each, id: 5_000 + at, content: ["<x>", "[y]"][at]!, special: false })),
  );

function model({ vocab, merges }: ReturnType<typeof vocabularyOf>, own: object, asText: boolean) {
  const spaced = merges.some((pair) => pair.join("").includes(" "));
  return { type: "BPE", vocab, merges: asText && !spaced ? merges.map((pair) => pair.join(" ")) : merges, ...own };
}

test("byte-level tokenizers, with GPT-2's words, Llama 3's, digits alone, or none", () => {
  const split = (Regex: string) => ({ type: "Split", pattern: { Regex }, behavior: "Isolated", invert: false });
  const bytes = (options: object = {}) => ({
    type: "ByteLevel",
    add_prefix_space: false,
    use_regex: false,
    ...options,
  });
  const sequence = (...pretokenizers: object[]) => ({ type: "Sequence", pretokenizers });
  const preTokenizers = [
    bytes(),
    bytes({ use_regex: true }),
    bytes({ use_regex: true, add_prefix_space: true }),
    bytes({ add_prefix_space: true }),
    sequence(split(GPT2), bytes()),
    sequence(split(LLAMA3), bytes()),
    sequence(split(" ?\\d"), bytes({ use_regex: true })),
    sequence(split("b*"), bytes()), // matches nothing, too
    sequence({ ...split("a"), behavior: "Removed" }, bytes()),
    sequence({ ...split("[ab]+"), invert: true }, bytes()),
    sequence({ type: "Digits", individual_digits: true }, bytes({ use_regex: true })),
    sequence({ type: "Digits", individual_digits: false }, bytes()),
  ];
  const normalizers = [
    null,
    { type: "NFC" },
    { type: "Sequence", normalizers: [{ type: "NFKC" }, { type: "Prepend", prepend: " " }] },
  ];
  const alphabet = LETTERS.flatMap((letter) =>
    Array.from(new TextEncoder().encode(letter), (byte) => byteCharacters()[byte]!),
  );
  fc.assert(
    fc.property(
      picks,
      flags,
      addedTokens,
      fc.constantFrom(...preTokenizers),
      fc.constantFrom(...normalizers),
      texts,
      (pairs, { ignores, asText }, added_tokens, pre_tokenizer, normalizer, text) => {
        const vocabulary = vocabularyOf([...new Set([...alphabet, ...byteCharacters()])], pairs);
        const own = { unk_token: null, byte_fallback: false, ignore_merges: ignores };
        const rest = { added_tokens, normalizer, pre_tokenizer, post_processor: null, decoder: { type: "ByteLevel" } };
        sameIds({ ...rest, model: model(vocabulary, own, asText) }, text);
      },
    ),
    RUNS,
  );
});

test("SentencePiece's, with a byte fallback or an unknown token", () => {
  const replace = { type: "Replace", pattern: { String: " " }, content: "▁" };
  const kinds = [
    {
      normalizer: { type: "Sequence", normalizers: [{ type: "Prepend", prepend: "▁" }, replace] },
      pre_tokenizer: null,
    },
    { normalizer: replace, pre_tokenizer: null },
    { normalizer: null, pre_tokenizer: { type: "Metaspace", replacement: "▁", prepend_scheme: "always" } },
    { normalizer: null, pre_tokenizer: { type: "Metaspace", replacement: "▁", prepend_scheme: "first" } },
    { normalizer: null, pre_tokenizer: { type: "Metaspace", replacement: "▁", prepend_scheme: "never" } },
  ];
  const bytes = Array.from({ length: 256 }, (_, byte) => `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`);
  fc.assert(
    fc.property(
      picks,
      flags,
      addedTokens,
      fc.constantFrom(...kinds),
      fc.boolean(),
      texts,
      (pairs, { ignores, fuses, asText }, added_tokens, kind, fallback, text) => {
        const { vocab, merges } = vocabularyOf(["a", "b", "c", "▁", "1", "\n"], pairs);
        const tokens = [...Object.keys(vocab), "<unk>", ...(fallback ? bytes : [])];
        const all = { vocab: Object.fromEntries(tokens.map((token, id) => [token, id])), merges };
        const own = { unk_token: "<unk>", fuse_unk: fuses, byte_fallback: fallback, ignore_merges: ignores };
        const rest = { added_tokens, ...kind, post_processor: null, decoder: { type: "ByteFallback" } };
        sameIds({ ...rest, model: model(all, own, asText) }, text);
      },
    ),
    RUNS,
  );
});

test("a word of thousands of characters outside the vocabulary is one unknown token", () => {
  const json = {
    added_tokens: [],
    normalizer: null,
    pre_tokenizer: null,
    post_processor: null,
    decoder: { type: "ByteFallback" },
    model: { type: "BPE", vocab: { a: 0, "<unk>": 1 }, merges: [], unk_token: "<unk>", fuse_unk: true },
  };
  sameIds(json, `${"é".repeat(2_500)}a${"é".repeat(2_500)}`);
});

test("slices are small, give the same ids, and end soon after the bound", () => {
  const json = JSON.parse(readFileSync("models/tiny/tokenizer.json", "utf8")) as unknown;
  const tokenizer = createTokenizer(json);
  const long = ["1".repeat(20_000), "ab".repeat(20_000), "the cat sat on the mat. ".repeat(2_000), " \n".repeat(9_000)];
  for (const text of long) {
    const units: number[] = [];
    const work = tokenizer.encodeSlices([text], Infinity);
    let step = work.next();
    for (; step.done !== true; step = work.next()) units.push(step.value);
    expect(step.value).toEqual({ ids: tokenizer.encode(text), complete: true });
    expect(Math.max(...units)).toBeLessThanOrEqual(2_000);
    expect(units.length).toBeGreaterThan(3);
    const bounded = finish(tokenizer.encodeSlices([text], 100));
    expect(bounded.complete).toBe(false);
    expect(bounded.ids.length).toBeLessThan(200);
    const { ids } = step.value;
    expect(finish(tokenizer.encodeSlices([text], ids.length))).toEqual({ ids, complete: true });
    expect(finish(tokenizer.encodeSlices([text], ids.length - 1)).complete).toBe(false);
  }
});

test("128 combining marks in a row are normalized together, and no more: sorting takes the square of their number", () => {
  const json = {
    added_tokens: [],
    normalizer: { type: "NFC" },
    pre_tokenizer: { type: "ByteLevel", add_prefix_space: false, use_regex: false },
    post_processor: null,
    decoder: { type: "ByteLevel" },
    model: { type: "BPE", vocab: Object.fromEntries(byteCharacters().map((c, id) => [c, id])), merges: [] },
  };
  const marks = (pairs: number): string => `e${"\u0301\u0323".repeat(pairs)}`;
  sameIds(json, marks(63));
  const many = marks(20_000);
  const cut = [many.slice(0, 129), ...(many.slice(129).match(/[^]{1,128}/gu) ?? [])];
  const bytes = new TextEncoder().encode(cut.map((run) => run.normalize("NFC")).join(""));
  expect(createTokenizer(json).encode(many)).toEqual([...bytes]);
});
