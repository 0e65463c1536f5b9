/** A chat's choices: `chat.completion` and `chat.completion.chunk`. Pure. */
import { z } from "zod";
import type { TextToken } from "../conversation.ts";
import { chunkFields, finishReasonSchema, headFields, usageSchema, type AnswerForm } from "./answer.ts";

const tokenLogprobSchema = z.strictObject({
  token: z.string().meta({ description: "Empty while its last character is incomplete; `bytes` is exact." }),
  logprob: z.number(),
  bytes: z.array(z.int().min(0).max(255)),
});

const logprobsSchema = z.strictObject({
  content: z.array(tokenLogprobSchema.extend({ top_logprobs: z.array(tokenLogprobSchema) })),
  refusal: z.null(),
});

const choiceSchema = z.strictObject({
  index: z.int().min(0),
  message: z.strictObject({ role: z.literal("assistant"), content: z.string(), refusal: z.null() }),
  logprobs: logprobsSchema.nullable(),
  finish_reason: finishReasonSchema,
});

const chunkChoiceSchema = z.strictObject({
  index: z.int().min(0),
  delta: z.strictObject({
    role: z.literal("assistant").optional(),
    content: z.string().optional(),
    refusal: z.null().optional(),
  }),
  logprobs: logprobsSchema.nullable(),
  finish_reason: finishReasonSchema.nullable(),
});

export const chatCompletionAnswerSchema = z.strictObject({
  ...headFields,
  object: z.literal("chat.completion"),
  choices: z.array(choiceSchema),
  usage: usageSchema,
});

export const chatCompletionChunkSchema = z.strictObject({
  ...chunkFields,
  object: z.literal("chat.completion.chunk"),
  choices: z.array(chunkChoiceSchema),
});

type ChunkChoice = z.infer<typeof chunkChoiceSchema>;

export const chatForm = {
  idPrefix: "chatcmpl",
  wholeObject: "chat.completion",
  chunkObject: "chat.completion.chunk",
  whole(index, pieces, finishReason, view): z.infer<typeof choiceSchema> {
    const content = pieces.map((piece) => piece.text).join("");
    const logprobs = view.logprobs ? logprobsOf(pieces.flatMap((piece) => piece.tokens)) : null;
    return { index, message: { role: "assistant", content, refusal: null }, logprobs, finish_reason: finishReason };
  },
  /** Who speaks. */
  opening(index): ChunkChoice {
    return { index, delta: { role: "assistant", content: "", refusal: null }, logprobs: null, finish_reason: null };
  },
  piece({ index, text, tokens }, _, view): ChunkChoice {
    return {
      index,
      delta: { content: text },
      logprobs: view.logprobs ? logprobsOf(tokens) : null,
      finish_reason: null,
    };
  },
  finish({ index, finishReason }): ChunkChoice {
    return { index, delta: {}, logprobs: null, finish_reason: finishReason };
  },
} satisfies AnswerForm;

function logprobsOf(tokens: readonly TextToken[]): z.infer<typeof logprobsSchema> {
  const content = tokens.map(({ text, logprob, bytes, top }) => ({
    token: text,
    logprob,
    bytes: [...bytes],
    top_logprobs: top.map((other) => ({ token: other.text, logprob: other.logprob, bytes: [...other.bytes] })),
  }));
  return { content, refusal: null };
}
