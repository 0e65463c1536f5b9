/** The bytes behind a token, for the two ways LLaMA-family vocabularies spell them. */
import { z } from "zod";

const stepSchema = z.looseObject({
  type: z.string(),
  content: z.string().nullish(),
  start: z.int().nullish(),
  prepend_scheme: z.string().nullish(),
  add_prefix_space: z.boolean().nullish(),
});
const decoderSchema = stepSchema.extend({ decoders: z.array(stepSchema).default([]) });

/** SentencePiece's visible space, U+2581. */
const VISIBLE_SPACE = /▁/gu;
/** SentencePiece's spelling of a byte without a character of its own. */
const BYTE_TOKEN = /^<0x([0-9A-Fa-f]{2})>$/;

export interface ByteReader {
  readonly stripsLeadingSpace: boolean;
  /** Empty for an id outside the vocabulary. */
  bytesOf(id: number): Uint8Array;
}

/**
 * @param decoder `decoder` of tokenizer.json.
 * @param added tokens that stand for their own text.
 * @throws Error for a decoder of another kind.
 */
export function byteReader(
  decoder: unknown,
  vocabulary: Readonly<Record<string, number>>,
  added: readonly { readonly id: number; readonly content: string }[],
): ByteReader {
  const root = decoderSchema.parse(decoder);
  const steps = root.type === "Sequence" ? root.decoders : [root];
  const has = (type: string) => steps.some((step) => step.type === type);
  if (!has("ByteLevel") && !has("Metaspace") && !has("ByteFallback")) {
    throw new Error(`tokenizer.json: decoder ${root.type} is neither byte-level nor SentencePiece`);
  }
  const utf8 = new TextEncoder();
  const tokens: (string | undefined)[] = [];
  for (const [token, id] of Object.entries(vocabulary)) tokens[id] = token;
  const plain = new Map(added.map(({ id, content }) => [id, content]));
  const read = has("ByteLevel") ? byteLevel() : sentencePiece(utf8);
  return {
    stripsLeadingSpace: steps.some(
      (step) =>
        (step.type === "Strip" && step.content === " " && (step.start ?? 0) > 0) ||
        (step.type === "Metaspace" && (step.prepend_scheme ?? "always") !== "never" && step.add_prefix_space !== false),
    ),
    bytesOf(id) {
      const content = plain.get(id);
      if (content !== undefined) return utf8.encode(content);
      const token = tokens[id];
      return token === undefined ? new Uint8Array(0) : read(token);
    },
  };
}

function sentencePiece(utf8: TextEncoder): (token: string) => Uint8Array {
  return (token) => {
    const byte = BYTE_TOKEN.exec(token)?.[1];
    return byte === undefined
      ? utf8.encode(token.replace(VISIBLE_SPACE, " "))
      : Uint8Array.of(Number.parseInt(byte, 16));
  };
}

/**
 * GPT-2's byte alphabet, by byte: printable Latin-1 characters stand for themselves, the other bytes for the characters
 * from U+0100 on, in order (openai/gpt-2 `src/encoder.py`, `bytes_to_unicode`).
 */
export function byteCharacters(): string[] {
  let next = 0x100;
  return Array.from({ length: 0x100 }, (_, byte) => {
    const printable = (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
    return String.fromCodePoint(printable ? byte : next++);
  });
}

function byteLevel(): (token: string) => Uint8Array {
  const byteOf = new Map(byteCharacters().map((character, byte) => [character, byte]));
  return (token) => Uint8Array.from(token, (character) => byteOf.get(character) ?? 0x3f);
}
