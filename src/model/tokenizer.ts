/**
 * Text to token ids and back, around Hugging Face's tokenizer.
 *
 * Text never becomes a control token. The library splits text at the spelling of every added token; so it is given
 * random names for the control tokens instead of their spelling, known only here. Text that spells one is then text
 * like any other, and the rules for control tokens (stripping beside them, section numbers) still are the library's.
 */
import { Tokenizer as Library } from "@huggingface/tokenizers";
import { z } from "zod";
import { textPrefix } from "./text-prefix.ts";
import { byteReader } from "./token-bytes.ts";

const addedTokenSchema = z.looseObject({
  id: z.int(),
  content: z.string().min(1),
  special: z.boolean().default(false),
});

/** The parts of tokenizer.json this file reads; the library reads the rest. */
const tokenizerJsonSchema = z.looseObject({
  added_tokens: z.array(addedTokenSchema).default([]),
  model: z.looseObject({
    vocab: z.record(z.string(), z.int()),
    unk_token: z.string().nullish(),
  }),
  decoder: z.unknown(),
  post_processor: z.unknown(),
});

/** Random bytes of a name: nobody guesses 128 bits. */
const NAME_BYTES = 16;

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
  /** The id of a control token by its exact spelling. */
  controlId(token: string): number | undefined;
  /** The bytes that an id adds to a text; empty for control tokens and ids outside the vocabulary. */
  bytesOf(id: number): Uint8Array;
}

/**
 * @param tokenizer parsed tokenizer.json.
 * @param config parsed tokenizer_config.json.
 * @throws z.ZodError, Error for a tokenizer that is not of a LLaMA-family kind (vocabulary as a map, byte-level or
 *   SentencePiece decoder).
 */
export function createTokenizer(tokenizer: unknown, config: unknown): Tokenizer {
  const json = tokenizerJsonSchema.parse(tokenizer);
  const special = json.added_tokens.filter((token) => token.special);
  const secret = randomName();
  const nameOf = (id: number) => `\u{e000}${secret}.${id}\u{e001}`;
  const renamed = json.added_tokens.map((token) =>
    token.special ? { ...token, content: nameOf(token.id), normalized: false } : token,
  );
  const library = new Library({ ...json, added_tokens: renamed }, z.looseObject({}).parse(config));
  const controlTokens = new Map(special.map((token) => [token.content, token.id]));
  const controlIds = new Set(controlTokens.values());
  const unknownId = json.model.unk_token == null ? undefined : json.model.vocab[json.model.unk_token];
  const spellings = new Map(special.map((token) => [token.id, token.content]));
  const reader = byteReader(json.decoder, json.model.vocab, json.added_tokens);

  const encodeText = (text: string) => (text === "" ? [] : library.encode(text, { add_special_tokens: false }).ids);
  /** A vocabulary may also list a control token as an ordinary entry that the model could match: spell it out then. */
  const encodePlain = (text: string): number[] =>
    encodeText(text).flatMap((id) =>
      controlIds.has(id) && id !== unknownId ? Array.from(spellings.get(id) ?? "").flatMap(encodeText) : [id],
    );
  return {
    controlIds,
    controlTokens,
    stripsLeadingSpace: reader.stripsLeadingSpace,
    textPrefix: textPrefix(json.post_processor),
    encode: encodePlain,
    encodeParts(parts) {
      const wanted = parts.filter((part) => typeof part === "number");
      const marked = parts.map((part) => (typeof part === "string" ? part : nameOf(part))).join("");
      for (const id of wanted) if (!controlIds.has(id)) throw new RangeError(`${id} is not a control token`);
      const ids = encodeText(marked);
      if (ids.filter((id) => controlIds.has(id) && id !== unknownId).length === wanted.length) return ids;
      return parts.flatMap((part) => (typeof part === "string" ? encodePlain(part) : [part]));
    },
    controlId: (token) => controlTokens.get(token),
    bytesOf: (id) => (controlIds.has(id) ? new Uint8Array(0) : reader.bytesOf(id)),
  };
}

function randomName(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(NAME_BYTES)), (byte) => byte.toString(16)).join("-");
}
