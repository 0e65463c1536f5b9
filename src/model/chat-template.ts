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
import type { Tokenizer } from "./tokenizer.ts";

const specialTokenSchema = z.union([z.string(), z.looseObject({ content: z.string() })]).nullish();

/** The parts of tokenizer_config.json a template may use. */
const configSchema = z.looseObject({
  chat_template: z.union([z.string(), z.array(z.looseObject({ name: z.string(), template: z.string() }))]),
  bos_token: specialTokenSchema,
  eos_token: specialTokenSchema,
  unk_token: specialTokenSchema,
  pad_token: specialTokenSchema,
});

/** Random bytes of a mark: nobody guesses 128 bits. */
const MARK_BYTES = 16;

export interface ChatTemplate {
  /**
   * The prompt of a conversation, ending where the assistant's answer begins. Control tokens come from the template
   * alone; contents are plain text.
   *
   * @throws TemplateError when the template refuses the messages (e.g. roles that do not alternate).
   */
  encode(messages: readonly Message[]): number[];
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
  const spellings = Array.from(tokenizer.controlTokens.keys()).sort((left, right) => right.length - left.length);
  const variables = {
    bos_token: spellingOf(parsed.bos_token),
    eos_token: spellingOf(parsed.eos_token),
    unk_token: spellingOf(parsed.unk_token),
    pad_token: spellingOf(parsed.pad_token),
    add_generation_prompt: true,
  };
  return {
    encode(messages) {
      const mark = Array.from(crypto.getRandomValues(new Uint8Array(MARK_BYTES)), (byte) => byte.toString(16)).join(
        "-",
      );
      const safe = messages.map(({ role, content }) => ({ role, content: disguise(content, spellings, mark) }));
      let rendered: string;
      try {
        rendered = template.render({ ...variables, messages: safe });
      } catch (cause) {
        throw new TemplateError(cause instanceof Error ? cause.message : String(cause), { cause });
      }
      return tokenizer.encodeParts(
        splitAt(rendered, spellings).map((part) => tokenizer.controlId(part) ?? reveal(part, mark)),
      );
    },
  };
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

/**
 * `content` with one character of every spelling of a control token replaced by a mark, likewise of a spelling that its
 * trimmed start or end could complete together with its surroundings.
 */
function disguise(content: string, spellings: readonly string[], mark: string): string {
  const marked = new Set<number>();
  const start = content.length - content.trimStart().length;
  const end = content.trimEnd().length;
  for (const spelling of spellings) {
    for (let at = content.indexOf(spelling); at >= 0; at = content.indexOf(spelling, at + 1)) marked.add(at);
    for (let cut = 1; cut < spelling.length; cut++) {
      if (content.startsWith(spelling.slice(cut), start)) marked.add(start);
      if (content.slice(0, end).endsWith(spelling.slice(0, cut))) marked.add(end - 1);
    }
  }
  const units = Array.from({ length: content.length }, (_, at) => content.charAt(at));
  return units.map((unit, at) => (marked.has(at) ? `\u{e000}${mark}.${unit.charCodeAt(0)}\u{e001}` : unit)).join("");
}

/** Undoes `disguise`. */
function reveal(text: string, mark: string): string {
  const [first = "", ...rest] = text.split(`\u{e000}${mark}.`);
  const restored = rest.map((piece) => {
    const end = piece.indexOf("\u{e001}");
    return String.fromCharCode(Number(piece.slice(0, end))) + piece.slice(end + 1);
  });
  return first + restored.join("");
}

/** Control tokens and the text between them, in order; `spellings` longest first, so that a longer one wins. */
function splitAt(text: string, spellings: readonly string[]): string[] {
  const parts: string[] = [];
  let from = 0;
  for (let at = 0; at < text.length;) {
    const found = spellings.find((spelling) => text.startsWith(spelling, at));
    if (found === undefined) {
      at++;
      continue;
    }
    if (at > from) parts.push(text.slice(from, at));
    parts.push(found);
    at += found.length;
    from = at;
  }
  if (from < text.length) parts.push(text.slice(from));
  return parts;
}
