/**
 * Messages to token ids by the checkpoint's own chat template.
 *
 * The template is rendered with the real contents, so that whatever it does to them (`trim`, tests) happens; only the
 * characters that would let a content spell a control token, alone or together with what the template puts beside it,
 * are replaced by random marks while it renders. Control tokens found afterwards are then the template's own. Between
 * two of them, template text and content are encoded as one run, so that token borders fall where training put them.
 */
import { Template } from "@huggingface/jinja";
import { z } from "zod";
import type { Message } from "../conversation.ts";
import { finish, type Sliced } from "../sliced.ts";
import { spellingsOf, splitting, startsOf, type Spellings } from "./spellings.ts";
import type { EncodedSlices, Tokenizer } from "./tokenizer.ts";

const specialTokenSchema = z.union([z.string(), z.looseObject({ content: z.string() })]).nullish();

/** The parts of tokenizer_config.json a template may use. */
const configSchema = z.looseObject({
  chat_template: z.union([z.string(), z.array(z.looseObject({ name: z.string(), template: z.string() }))]),
  bos_token: specialTokenSchema,
  eos_token: specialTokenSchema,
  unk_token: specialTokenSchema,
  pad_token: specialTokenSchema,
});

/** Random characters of a mark, a byte each: nobody guesses 128 bits. */
const MARK_CHARS = 16;
/** Where the private characters that spell a mark begin, one a byte; and what stands around a mark. */
const PRIVATE = 0xe100;
const [OPEN, CLOSE] = ["\u{e000}", "\u{e001}"];
/** Units that rendering costs: a message, and so many characters one. It cannot be interrupted. */
const MESSAGE_UNITS = 10;
const CHARS_PER_UNIT = 100;

export interface ChatTemplate {
  /**
   * The prompt of a conversation, ending where the assistant's answer begins. Control tokens come from the template
   * alone; contents are plain text.
   *
   * @throws TemplateError when the template refuses the messages (e.g. roles that do not alternate).
   */
  encode(messages: readonly Message[]): number[];
  /**
   * As {@link encode}, in slices.
   * @param limit ids after which it ends: a conversation that has more is not read to its end
   */
  encodeSlices(messages: readonly Message[], limit: number): Sliced<EncodedSlices>;
}

/** The template's own refusal; the message is the template's. */
export class TemplateError extends Error {}

/**
 * @param config parsed tokenizer_config.json.
 * @throws Error when it has no `chat_template`, or one that cannot be parsed.
 */
export function createChatTemplate(tokenizer: Tokenizer, config: unknown): ChatTemplate {
  const parsed = configSchema.parse(config);
  const template = new Template(sourceOf(parsed.chat_template));
  const spellings = spellingsOf(tokenizer.controlTokens);
  const edges = edgesOf(tokenizer.controlTokens.keys());
  const variables = {
    bos_token: spellingOf(parsed.bos_token),
    eos_token: spellingOf(parsed.eos_token),
    unk_token: spellingOf(parsed.unk_token),
    pad_token: spellingOf(parsed.pad_token),
    add_generation_prompt: true,
  };

  function render(messages: readonly Message[]): string {
    try {
      return template.render({ ...variables, messages });
    } catch (cause) {
      throw new TemplateError(cause instanceof Error ? cause.message : String(cause), { cause });
    }
  }

  function* encodeSlices(messages: readonly Message[], limit: number): Sliced<EncodedSlices> {
    const mark = newMark();
    const safe: Message[] = [];
    for (const { role, content } of messages) {
      safe.push({ role, content: marked(content, yield* placesOf(content, spellings, edges), mark) });
    }
    yield MESSAGE_UNITS * safe.length + safe.reduce((sum, { content }) => sum + content.length, 0) / CHARS_PER_UNIT;
    const rendered = render(safe);
    const parts = yield* splitting(rendered, spellings);
    const revealed = parts.map((part) => (typeof part === "string" ? reveal(part, mark) : part));
    yield rendered.length / CHARS_PER_UNIT;
    return yield* tokenizer.encodeSlices(revealed, limit);
  }

  return { encodeSlices, encode: (messages) => finish(encodeSlices(messages, Infinity)).ids };
}

function sourceOf(template: z.infer<typeof configSchema>["chat_template"]): string {
  if (typeof template === "string") return template;
  const chosen = template.find(({ name }) => name === "default") ?? template[0];
  if (chosen === undefined) throw new Error("tokenizer_config.json: chat_template is an empty list");
  return chosen.template;
}

function spellingOf(token: z.infer<typeof specialTokenSchema>): string {
  return typeof token === "string" ? token : (token?.content ?? "");
}

/** What may begin, or end, a spelling whose rest stands beside a content. */
interface Edges {
  readonly ends: ReadonlySet<string>;
  readonly beginnings: ReadonlySet<string>;
  /** Characters of the longest. */
  readonly longest: number;
}

function edgesOf(spellings: Iterable<string>): Edges {
  const ends = new Set<string>();
  const beginnings = new Set<string>();
  let longest = 0;
  for (const spelling of spellings) {
    longest = Math.max(longest, spelling.length - 1);
    for (let cut = 1; cut < spelling.length; cut++) {
      ends.add(spelling.slice(cut));
      beginnings.add(spelling.slice(0, cut));
    }
  }
  return { ends, beginnings, longest };
}

/**
 * Places of the characters that keep a content from spelling a control token once they are replaced: the first of
 * every spelling, and the first and last of the trimmed content where it could complete one with its surroundings.
 */
function* placesOf(content: string, spellings: Spellings, { ends, beginnings, longest }: Edges): Sliced<number[]> {
  const places = new Set(yield* startsOf(content, spellings));
  const start = content.length - content.trimStart().length;
  const end = content.trimEnd().length;
  for (let length = 1; length <= longest && length <= content.length; length++) {
    if (ends.has(content.slice(start, start + length))) places.add(start);
    if (beginnings.has(content.slice(Math.max(end - length, 0), end))) places.add(end - 1);
  }
  return [...places].toSorted((left, right) => left - right);
}

function newMark(): string {
  return String.fromCharCode(
    ...Array.from(crypto.getRandomValues(new Uint8Array(MARK_CHARS)), (byte) => PRIVATE + byte),
  );
}

/** `content` with the characters at `places` (ascending) replaced by marks that name them. */
function marked(content: string, places: readonly number[], mark: string): string {
  if (places.length === 0) return content;
  const pieces: string[] = [];
  let from = 0;
  for (const at of places) {
    pieces.push(content.slice(from, at), `${OPEN}${mark}${content.charCodeAt(at)}${CLOSE}`);
    from = at + 1;
  }
  return pieces.join("") + content.slice(from);
}

/** Undoes {@link marked}. */
function reveal(text: string, mark: string): string {
  const [first = "", ...rest] = text.split(OPEN + mark);
  const restored = rest.map((piece) => {
    const end = piece.indexOf(CLOSE);
    return String.fromCharCode(Number(piece.slice(0, end))) + piece.slice(end + 1);
  });
  return first + restored.join("");
}
