/**
 * Text to token ids and back, as tokenizer.json says: added tokens, normalizer, words, byte pairs. Ids are made in
 * slices, so that a long text keeps nobody waiting.
 *
 * Text never becomes a control token: control tokens are given by their ids, beside the text, and what spells one is
 * text like any other.
 */
import { z } from "zod";
import { finish, type Sliced } from "../sliced.ts";
import { BytePairs } from "./byte-pairs.ts";
import { spellingsOf, splitting } from "./spellings.ts";
import { textPrefix } from "./text-prefix.ts";
import { byteReader } from "./token-bytes.ts";
import { createWords } from "./words.ts";

const addedTokenSchema = z.looseObject({
  id: z.int(),
  content: z.string().min(1),
  special: z.boolean().default(false),
  normalized: z.boolean().optional(),
  lstrip: z.boolean().default(false),
  rstrip: z.boolean().default(false),
});
type AddedToken = z.infer<typeof addedTokenSchema>;

/** The parts of tokenizer.json this file reads; others read the rest. */
const tokenizerJsonSchema = z.looseObject({
  added_tokens: z.array(addedTokenSchema).default([]),
  normalizer: z.unknown(),
  pre_tokenizer: z.unknown(),
  model: z.looseObject({
    vocab: z.record(z.string(), z.int()),
    unk_token: z.string().nullish(),
  }),
  decoder: z.unknown(),
  post_processor: z.unknown(),
});

/** Units of work between two yields: about a millisecond. */
const SLICE_UNITS = 1_000;
/** Units that a word costs, and each character of it. */
const [WORD_UNITS, CHAR_UNITS] = [0.4, 0.1];

/** Ids of a text that was read as far as a bound. */
export interface EncodedSlices {
  readonly ids: number[];
  /** All of it was read; otherwise it has more ids than the bound. */
  readonly complete: boolean;
}

export interface Tokenizer {
  /** Ids that stand for control tokens (added tokens marked special). */
  readonly controlIds: ReadonlySet<number>;
  /** Spelling of every control token. */
  readonly controlTokens: ReadonlyMap<string, number>;
  /** A text starts with a space that no reader should see (SentencePiece's dummy prefix). */
  readonly stripsLeadingSpace: boolean;
  /** Ids before a text that is no conversation; often BOS, sometimes none. */
  readonly textPrefix: readonly number[];
  /** Text as plain text: what spells a control token is encoded like any other characters. No BOS is added. */
  encode(text: string): number[];
  /** Plain text and control ids, in order, encoded as one. @throws RangeError for an id that is no control token. */
  encodeParts(parts: readonly (string | number)[]): number[];
  /**
   * As {@link encodeParts}, in slices.
   * @param limit ids after which it ends: a text that has more is not read to its end
   */
  encodeSlices(parts: readonly (string | number)[], limit: number): Sliced<EncodedSlices>;
  /** The bytes that an id adds to a text; empty for control tokens and ids outside the vocabulary. */
  bytesOf(id: number): Uint8Array;
}

/**
 * @param tokenizer parsed tokenizer.json.
 * @throws z.ZodError, Error for a tokenizer that is not of a LLaMA-family kind (byte-pair encoding, byte-level or
 *   SentencePiece decoder).
 */
export function createTokenizer(tokenizer: unknown): Tokenizer {
  const json = tokenizerJsonSchema.parse(tokenizer);
  const special = json.added_tokens.filter((token) => token.special);
  const controlTokens = new Map(special.map((token) => [token.content, token.id]));
  const controlIds = new Set(controlTokens.values());
  const reader = byteReader(json.decoder, json.model.vocab, json.added_tokens);
  const encodeSlices = encoder(json, controlIds);
  return {
    controlIds,
    controlTokens,
    stripsLeadingSpace: reader.stripsLeadingSpace,
    textPrefix: textPrefix(json.post_processor),
    encode: (text) => finish(encodeSlices([text], Infinity)).ids,
    encodeParts: (parts) => finish(encodeSlices(parts, Infinity)).ids,
    encodeSlices,
    bytesOf: (id) => (controlIds.has(id) ? new Uint8Array(0) : reader.bytesOf(id)),
  };
}

function encoder(
  { added_tokens: added, model, normalizer, pre_tokenizer: preTokenizer }: z.infer<typeof tokenizerJsonSchema>,
  controlIds: ReadonlySet<number>,
): Tokenizer["encodeSlices"] {
  const words = createWords(normalizer, preTokenizer);
  const pairs = new BytePairs(model, words.byteLevel);
  const byId = new Map(added.map((token) => [token.id, token]));
  const plain = added.filter(({ special }) => !special);
  const isNormalized = ({ normalized = true }: AddedToken): boolean => normalized && normalizer != null;
  const written = spellingsOf(plain.filter((token) => !isNormalized(token)).map(({ content, id }) => [content, id]));
  const normalized = spellingsOf(
    plain.filter(isNormalized).map(({ content, id }) => [finish(words.normalized(content)), id]),
  );
  const unknownId = model.unk_token == null ? undefined : model.vocab[model.unk_token];
  /** Control tokens that the model could match, because its vocabulary lists them as well: they are spelled out. */
  const matchable = new Map(
    added
      .filter(({ id, content }) => controlIds.has(id) && id !== unknownId && model.vocab[content] === id)
      .map(({ id, content }) => [id, Array.from(content).flatMap((character) => pairs.characterIds(character))]),
  );

  /** Appends a section's ids. @returns whether it was read to its end */
  function* appendSection(text: string, index: number, ids: number[], limit: number): Sliced<boolean> {
    const subsections = yield* splitting(yield* words.normalized(text), normalized);
    let units = 0;
    for (const subsection of stripped(subsections, byId)) {
      if (typeof subsection === "number") ids.push(subsection);
      else if (subsection !== "") {
        for (const word of words.of(subsection, index)) {
          const from = ids.length;
          const short = pairs.appendShort(word, ids);
          if (!short && !(yield* pairs.appendLong(word, ids, limit))) return false;
          spellOut(ids, from, matchable);
          if (ids.length > limit) return false;
          units += short ? WORD_UNITS + word.length * CHAR_UNITS : 0;
          if (units < SLICE_UNITS) continue;
          yield units;
          units = 0;
        }
      }
    }
    yield units;
    return true;
  }

  return function* encodeSlices(parts, limit) {
    const ids: number[] = [];
    const sections: (string | number)[] = [];
    for (const part of joined(parts)) {
      if (typeof part === "string") for (const section of yield* splitting(part, written)) sections.push(section);
      else if (controlIds.has(part)) sections.push(part);
      else throw new RangeError(`${part} is not a control token`);
    }
    for (const [index, section] of stripped(sections, byId).entries()) {
      if (typeof section === "number") ids.push(section);
      else if (section !== "" && !(yield* appendSection(section, index, ids, limit))) return { ids, complete: false };
      if (ids.length > limit) return { ids, complete: false };
    }
    return { ids, complete: true };
  };
}

/** Texts beside each other as one. */
function joined(parts: readonly (string | number)[]): (string | number)[] {
  const all: (string | number)[] = [];
  for (const part of parts) {
    const last = all.at(-1);
    if (typeof part === "string" && typeof last === "string") all[all.length - 1] = last + part;
    else all.push(part);
  }
  return all;
}

/** Sections without the space that an added token beside them takes. */
function stripped(sections: readonly (string | number)[], added: ReadonlyMap<number, AddedToken>): (string | number)[] {
  const strips = (at: number, side: "lstrip" | "rstrip"): boolean => {
    const section = sections[at];
    return typeof section === "number" && added.get(section)?.[side] === true;
  };
  return sections.map((section, at) => {
    if (typeof section === "number") return section;
    const start = strips(at - 1, "rstrip") ? section.trimStart() : section;
    return strips(at + 1, "lstrip") ? start.trimEnd() : start;
  });
}

/** Replaces the ids from `from` on that stand for a whole control token by those of its characters. */
function spellOut(ids: number[], from: number, matchable: ReadonlyMap<number, readonly number[]>): void {
  if (matchable.size === 0 || !ids.slice(from).some((id) => matchable.has(id))) return;
  for (const id of ids.splice(from)) {
    const spelled = matchable.get(id);
    if (spelled === undefined) ids.push(id);
    else ids.push(...spelled);
  }
}
