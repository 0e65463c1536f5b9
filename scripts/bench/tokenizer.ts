/** `npm run bench:tokenizer`: what reading a prompt costs, beside the library that it replaces on that path. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Tokenizer as Library } from "@huggingface/tokenizers";
import { createChatTemplate } from "../../src/model/chat-template.ts";
import { createTokenizer } from "../../src/model/tokenizer.ts";
import { UNITS_PER_MS, type Sliced } from "../../src/sliced.ts";
import { CHECKPOINT } from "../checkpoint.ts";
import { runBench } from "./options.ts";
import { digits, table } from "./report.ts";
import { median } from "./rounds.ts";
import { tokenizerOptions, type TokenizerOptions } from "./tokenizer-options.ts";

const HELP = `Usage: [CHECKPOINT=DIR] npm run bench:tokenizer [-- options]

Milliseconds that texts of different kinds take to become token ids, here and by @huggingface/tokenizers, both in every
round; the longest time that one slice takes; and the milliseconds of a unit of work. Then chats, with few control
tokens and with as many as Llama 3 has. Ends with one line of JSON.
`;

const ENGLISH = "The quick brown fox jumps over the lazy dog, while 3 of 12 others don't; they sleep. ";
/** Control tokens of Llama 3. */
const MANY_CONTROL_TOKENS = 256;

interface Json {
  readonly added_tokens: readonly object[];
}

/** Kinds of text, each of so many characters. */
function textsOf(chars: number): Record<string, string> {
  const repeated = (unit: string): string => unit.repeat(Math.ceil(chars / unit.length)).slice(0, chars);
  return {
    English: repeated(ENGLISH),
    digits: repeated("1234567890"),
    "one word": repeated("abcdefghijklmnopqrstuvwxyz"),
    spaces: repeated(" "),
    newlines: repeated(" \n\n"),
    apostrophes: repeated("'s't're"),
    emoji: repeated("🙂👩‍👩‍👧"),
    Chinese: repeated("我们的世界很大"),
    "combining marks": repeated("e\u0301\u0323"),
  };
}

interface Timed {
  readonly total: number;
  readonly longest: number;
  readonly units: number;
}

/** Milliseconds of work, and of its longest slice. */
function timed(work: Sliced<unknown>): Timed {
  let [total, longest, units] = [0, 0, 0];
  for (;;) {
    const started = performance.now();
    const step = work.next();
    const took = performance.now() - started;
    total += took;
    longest = Math.max(longest, took);
    if (step.done === true) return { total, longest, units };
    units += step.value;
  }
}

function millisecondsOf(work: () => unknown): number {
  const started = performance.now();
  work();
  return performance.now() - started;
}

async function run({ chars, rounds }: TokenizerOptions): Promise<void> {
  const read = (name: string): unknown => JSON.parse(readFileSync(join(CHECKPOINT, name), "utf8"));
  const json = read("tokenizer.json") as Json;
  const config = read("tokenizer_config.json");
  const tokenizer = createTokenizer(json);
  const rows = Object.entries(textsOf(chars)).map(([text, content]) => {
    const measured = Array.from({ length: rounds }, () => {
      const library = new Library(json, {}); // its cache of words is empty, as on a fresh isolate
      const theirs = millisecondsOf(() => library.encode(content, { add_special_tokens: false }));
      const { total, longest, units } = timed(tokenizer.encodeSlices([content], Infinity));
      return { ours: total, theirs, longest, ratio: total / theirs, perUnit: (total / units) * UNITS_PER_MS };
    });
    const of = (figure: keyof (typeof measured)[number]): number => median(measured.map((round) => round[figure]));
    return {
      text,
      ours: of("ours"),
      theirs: of("theirs"),
      ratio: of("ratio"),
      longest: of("longest"),
      per_thousand_units: of("perUnit"),
    };
  });
  const chats = [0, MANY_CONTROL_TOKENS].map((more) => {
    const extra = Array.from({ length: more }, (_, at) => ({
      id: 1_000_000 + at,
      content: `<|reserved_special_token_${at}|>`,
      special: true,
    }));
    const control = createTokenizer({ ...json, added_tokens: [...json.added_tokens, ...extra] });
    const template = createChatTemplate(control, config);
    const messages = [{ role: "user" as const, content: ENGLISH.repeat(Math.ceil((9 * chars) / ENGLISH.length)) }];
    const many = Array.from({ length: 2_048 }, () => ({ role: "user" as const, content: "<|end|> hi" }));
    const measure = (work: () => Sliced<unknown>): Timed[] => Array.from({ length: rounds }, () => timed(work()));
    const [one, all] = [
      measure(() => template.encodeSlices(messages, 1_000)),
      measure(() => template.encodeSlices(many, Infinity)),
    ];
    const middle = (of: readonly Timed[], figure: keyof Timed): number => median(of.map((each) => each[figure]));
    return {
      control_tokens: control.controlTokens.size,
      one_long: middle(one, "total"),
      one_long_longest: middle(one, "longest"),
      messages_2048: middle(all, "total"),
      messages_2048_longest: middle(all, "longest"),
    };
  });
  const milliseconds = (value: number): string => `${digits(value)} ms`;
  console.log(
    table(
      [`${chars} characters`, "here", "library", "here / library", "longest slice", "1,000 units"],
      rows.map((row) => [
        row.text,
        milliseconds(row.ours),
        milliseconds(row.theirs),
        digits(row.ratio),
        milliseconds(row.longest),
        milliseconds(row.per_thousand_units),
      ]),
    ),
  );
  console.log();
  console.log(
    table(
      [
        "control tokens",
        `a chat of ${9 * chars} characters, to 1,000 ids`,
        "longest slice",
        "2,048 messages",
        "longest slice",
      ],
      chats.map((chat) => [
        String(chat.control_tokens),
        milliseconds(chat.one_long),
        milliseconds(chat.one_long_longest),
        milliseconds(chat.messages_2048),
        milliseconds(chat.messages_2048_longest),
      ]),
    ),
  );
  console.log(JSON.stringify({ bench: "tokenizer", checkpoint: CHECKPOINT, chars, rounds, rows, chats }));
}

await runBench(() => tokenizerOptions(HELP), run);
