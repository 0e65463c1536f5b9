/** A text completion's choices: `text_completion`, whole and in chunks. Pure. */
import { z } from "zod";
import type { TextToken } from "../conversation.ts";
import { characters, chunkFields, finishReasonSchema, headFields, usageSchema, type AnswerForm } from "./answer.ts";

const logprobsSchema = z.strictObject({
  tokens: z.array(z.string()).meta({ description: "What is no text of its own is spelled `bytes:\\xe2\\x80`." }),
  token_logprobs: z.array(z.number()),
  top_logprobs: z
    .array(z.record(z.string(), z.number()))
    .meta({ description: "The most probable tokens and the chosen one." }),
  text_offset: z.array(z.int().min(0)).meta({ description: "Characters of the choice's text before each token." }),
});

const choiceSchema = z.strictObject({
  index: z.int().min(0),
  text: z.string(),
  logprobs: logprobsSchema.nullable(),
  finish_reason: finishReasonSchema,
});
const chunkChoiceSchema = choiceSchema.extend({ finish_reason: finishReasonSchema.nullable() });

export const completionAnswerSchema = z.strictObject({
  ...headFields,
  object: z.literal("text_completion"),
  choices: z.array(choiceSchema),
  usage: usageSchema,
});

export const completionChunkSchema = z.strictObject({
  ...chunkFields,
  object: z.literal("text_completion"),
  choices: z.array(chunkChoiceSchema),
});

type ChunkChoice = z.infer<typeof chunkChoiceSchema>;

export const completionForm = {
  idPrefix: "cmpl",
  wholeObject: "text_completion",
  chunkObject: "text_completion",
  whole(index, pieces, finishReason, view): z.infer<typeof choiceSchema> {
    const text = pieces.map((piece) => piece.text).join("");
    const tokens = pieces.flatMap((piece) => piece.tokens);
    return { index, text, logprobs: view.logprobs ? logprobsOf(tokens, 0) : null, finish_reason: finishReason };
  },
  opening: () => null,
  piece({ index, text, tokens }, offset, view): ChunkChoice {
    return { index, text, logprobs: view.logprobs ? logprobsOf(tokens, offset) : null, finish_reason: null };
  },
  finish({ index, finishReason }): ChunkChoice {
    return { index, text: "", logprobs: null, finish_reason: finishReason };
  },
} satisfies AnswerForm;

/** @param from characters before the first of them */
function logprobsOf(tokens: readonly TextToken[], from: number): z.infer<typeof logprobsSchema> {
  let offset = from;
  const offsets = tokens.map(({ text }) => {
    const at = offset;
    offset += characters(text);
    return at;
  });
  return {
    tokens: tokens.map(nameOf),
    token_logprobs: tokens.map(({ logprob }) => logprob),
    top_logprobs: tokens.map((token) =>
      Object.fromEntries([...token.top, token].map((one) => [nameOf(one), one.logprob])),
    ),
    text_offset: offsets,
  };
}

const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** A token's text; part of a character is spelled by its bytes, so that two of them are not one name. */
function nameOf({ bytes }: Pick<TextToken, "bytes">): string {
  try {
    return decoder.decode(new Uint8Array(bytes));
  } catch {
    return `bytes:${bytes.map((byte) => `\\x${byte.toString(16).padStart(2, "0")}`).join("")}`;
  }
}
