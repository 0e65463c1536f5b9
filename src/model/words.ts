/**
 * Text to words, as tokenizer.json's normalizer and pre-tokenizer say: the library's own steps, taken one after another,
 * so that a long text is split while its first words are encoded, and nothing is done at once that may take long.
 */
import { Tokenizer as Library } from "@huggingface/tokenizers";
import { z } from "zod";
import type { Sliced } from "../sliced.ts";

const stepSchema = z.looseObject({ type: z.string() });
type Step = z.infer<typeof stepSchema>;

const splitSchema = stepSchema.extend({ behavior: z.string().nullish(), invert: z.boolean().nullish() });
const byteLevelSchema = stepSchema.extend({
  add_prefix_space: z.boolean().nullish(),
  use_regex: z.boolean().nullish(),
});

const UNICODE_FORMS = new Set(["NFC", "NFD", "NFKC", "NFKD"]);
/**
 * Combining marks in a row that are normalized together: sorting them takes the square of their number (25 s for
 * 300,000). Writing needs under ten; Unicode's stream-safe format allows 30 (UAX #15, section 13).
 */
const MAX_MARKS = 128;
const MANY_MARKS = new RegExp(`\\p{M}{${MAX_MARKS}}(?=\\p{M})`, "gu");
/** Characters of a text that a unit of work passes through. */
const CHARS_PER_UNIT = 100;

/** What a step makes of one piece of text. */
type Splitter =
  /** Every match of a pattern is a word; so is what is between two, if it is kept. */
  | { readonly kind: "pattern"; readonly pattern: RegExp; readonly gaps: boolean; readonly prefixSpace: boolean }
  /** The library's own, at once. @param section index among the text's sections */
  | { readonly kind: "library"; split(text: string, section: number): readonly string[] };

export interface Words {
  /** Words are given as text, and stand for their UTF-8 bytes. */
  readonly byteLevel: boolean;
  /** Of one section of a text. */
  normalized(text: string): Sliced<string>;
  /** Words of a normalized section, in order. @param section its index among the text's sections */
  of(text: string, section: number): Generator<string, void, void>;
}

/**
 * @param normalizer `normalizer` of tokenizer.json
 * @param preTokenizer its `pre_tokenizer`
 * @throws Error for a step that the library does not know
 */
export function createWords(normalizer: unknown, preTokenizer: unknown): Words {
  const normalizers = stepsOf(normalizer, "normalizers").map((step) => {
    const { normalizer: own } = libraryOf({ normalizer: step });
    return { isUnicode: UNICODE_FORMS.has(step.type), apply: (text: string): string => own?.(text) ?? text };
  });
  const steps = stepsOf(preTokenizer, "pretokenizers");
  const byteLevel = steps.at(-1)?.type === "ByteLevel";
  const splitters = steps.flatMap((step, at) => splitterOf(step, byteLevel && at === steps.length - 1));
  return {
    byteLevel,
    *normalized(text) {
      let current = text;
      for (const { isUnicode, apply } of normalizers) {
        current = isUnicode ? boundedRuns(current).map(apply).join("") : apply(current);
        yield Math.ceil(current.length / CHARS_PER_UNIT);
      }
      return current;
    },
    of: (text, section) => split(text, section, splitters, 0),
  };
}

function* split(
  text: string,
  section: number,
  splitters: readonly Splitter[],
  at: number,
): Generator<string, void, void> {
  const splitter = splitters[at];
  if (splitter === undefined) yield text;
  else if (at === splitters.length - 1) yield* pieces(text, section, splitter);
  else for (const piece of pieces(text, section, splitter)) yield* split(piece, section, splitters, at + 1);
}

function* pieces(given: string, section: number, splitter: Splitter): Generator<string, void, void> {
  if (splitter.kind === "library") return yield* splitter.split(given, section);
  const { pattern, gaps, prefixSpace } = splitter;
  const text = prefixSpace && !given.startsWith(" ") ? ` ${given}` : given;
  let done = 0;
  let match: RegExpExecArray | null;
  for (let from = 0; (match = next(pattern, text, from)) !== null;) {
    const [word] = match;
    if (gaps && match.index > done) yield text.slice(done, match.index);
    if (word !== "") yield word;
    done = match.index + word.length;
    from = word === "" ? done + characterLength(text, done) : done;
  }
  if (gaps && done < text.length) yield text.slice(done);
}

function next(pattern: RegExp, text: string, from: number): RegExpExecArray | null {
  pattern.lastIndex = from;
  return pattern.exec(text);
}

function characterLength(text: string, at: number): number {
  return (text.codePointAt(at) ?? 0) > 0xffff ? 2 : 1;
}

/** The text cut within every run of more than {@link MAX_MARKS} combining marks. */
function boundedRuns(text: string): string[] {
  const cut: string[] = [];
  let from = 0;
  for (const { index, 0: run } of text.matchAll(MANY_MARKS)) {
    cut.push(text.slice(from, index + run.length));
    from = index + run.length;
  }
  return [...cut, text.slice(from)];
}

function splitterOf(step: Step, isLastByteLevel: boolean): Splitter[] {
  const { pre_tokenizer: own } = libraryOf({ pre_tokenizer: step });
  if (own === null) throw new Error(`tokenizer.json: pre-tokenizer ${step.type} is not known`);
  const { pattern } = own as { pattern?: unknown };
  if (isLastByteLevel) {
    const { add_prefix_space: prefix, use_regex: splits } = byteLevelSchema.parse(step);
    const everything = /[^]+/g;
    const words = pattern instanceof RegExp && splits !== false ? pattern : everything;
    if (words === everything && prefix !== true) return [];
    return [{ kind: "pattern", pattern: words, gaps: false, prefixSpace: prefix === true }];
  }
  if (pattern instanceof RegExp && step.type === "Split") {
    const { behavior, invert } = splitSchema.parse(step);
    const removed = behavior?.toLowerCase() === "removed" && invert !== true;
    if (!removed) return [{ kind: "pattern", pattern, gaps: invert !== true, prefixSpace: false }];
  }
  if (pattern instanceof RegExp && step.type === "Digits") {
    return [{ kind: "pattern", pattern, gaps: false, prefixSpace: false }];
  }
  return [
    { kind: "library", split: (text, section) => own.pre_tokenize_text(text, { section_index: section } as never) },
  ];
}

/** A sequence's steps; null: none. */
function stepsOf(value: unknown, list: "normalizers" | "pretokenizers"): Step[] {
  if (value === null || value === undefined) return [];
  const step = stepSchema.parse(value);
  if (step.type !== "Sequence") return [step];
  return z
    .array(z.unknown())
    .parse(step[list])
    .flatMap((inner) => stepsOf(inner, list));
}

/** The library around one step alone. */
function libraryOf(part: { normalizer?: Step; pre_tokenizer?: Step }): Library {
  const model = { type: "BPE", vocab: {}, merges: [] };
  const nothing = { normalizer: null, pre_tokenizer: null, post_processor: null, decoder: null, added_tokens: [] };
  return new Library({ ...nothing, ...part, model }, {});
}
