/** The schemas against the official client's types: what it may send is known by name, what we send is what it reads. */
import type OpenAI from "openai";
import { expectTypeOf, test } from "vitest";
import type { z } from "zod";
import type { chatCompletionAnswerSchema, chatCompletionChunkSchema } from "../../src/api/chat-answer.ts";
import type { ChatCompletionBody } from "../../src/api/chat-request.ts";
import type { completionAnswerSchema, completionChunkSchema } from "../../src/api/completion-answer.ts";
import type { CompletionBody } from "../../src/api/completion-request.ts";
import type { modelSchema } from "../../src/api/catalogue-answer.ts";

test("every parameter of the client is known: taken, or refused by its name", () => {
  expectTypeOf<Exclude<keyof OpenAI.ChatCompletionCreateParams, keyof ChatCompletionBody>>().toBeNever();
  expectTypeOf<Exclude<keyof OpenAI.CompletionCreateParams, keyof CompletionBody>>().toBeNever();
});

test("answers are what the client's types say", () => {
  expectTypeOf<z.infer<typeof chatCompletionAnswerSchema>>().toExtend<OpenAI.ChatCompletion>();
  expectTypeOf<z.infer<typeof completionAnswerSchema>>().toExtend<OpenAI.Completion>();
  expectTypeOf<z.infer<typeof modelSchema>>().toExtend<OpenAI.Model>();
});

test("chunks are, but for what exact optional types make of `undefined`", () => {
  type Chunk = z.infer<typeof chatCompletionChunkSchema>;
  expectTypeOf<Omit<Chunk, "usage" | "choices">>().toExtend<Omit<OpenAI.ChatCompletionChunk, "usage" | "choices">>();
  type Text = z.infer<typeof completionChunkSchema>;
  expectTypeOf<Text["object"]>().toExtend<OpenAI.Completion["object"]>();
});
