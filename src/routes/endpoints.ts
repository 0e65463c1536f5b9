/** Every address of the HTTP surface with its schemas, in one table. A test holds the app's routes to it. */
import { z } from "zod";
import { healthSchema, modelListSchema, modelSchema } from "../api/catalogue-answer.ts";
import { chatCompletionAnswerSchema, chatCompletionChunkSchema } from "../api/chat-answer.ts";
import { chatCompletionSchema } from "../api/chat-request.ts";
import { completionAnswerSchema, completionChunkSchema } from "../api/completion-answer.ts";
import { completionSchema } from "../api/completion-request.ts";
import type { Endpoint, ErrorStatus } from "../api/openapi.ts";

/** A tier that cannot answer, or breaks off. */
const TIER_ERRORS: readonly ErrorStatus[] = [502, 503, 504];

export const ENDPOINTS: readonly Endpoint[] = [
  {
    method: "post",
    path: "/v1/chat/completions",
    name: "ChatCompletion",
    summary: "Answers a conversation.",
    access: "key",
    body: chatCompletionSchema,
    answer: { "application/json": chatCompletionAnswerSchema, "text/event-stream": chatCompletionChunkSchema },
    errors: [404, ...TIER_ERRORS],
  },
  {
    method: "post",
    path: "/v1/completions",
    name: "Completion",
    summary: "Continues plain text or token ids (OpenAI's legacy completions).",
    access: "key",
    body: completionSchema,
    answer: { "application/json": completionAnswerSchema, "text/event-stream": completionChunkSchema },
    errors: [404, ...TIER_ERRORS],
  },
  {
    method: "get",
    path: "/v1/models",
    name: "ModelList",
    summary: "Lists every model id that is answered to.",
    access: "key",
    answer: { "application/json": modelListSchema },
    errors: [],
  },
  {
    method: "get",
    path: "/v1/models/{id}",
    name: "Model",
    summary: "One of the model ids.",
    access: "key",
    pathParameters: { id: z.string() },
    answer: { "application/json": modelSchema },
    errors: [404],
  },
  {
    method: "get",
    path: "/healthz",
    name: "Health",
    summary: "What is served, and which tiers can serve it; 503 when none can.",
    access: "open",
    answer: { "application/json": healthSchema },
    statuses: [200, 503],
    errors: [],
  },
  {
    method: "get",
    path: "/openapi.json",
    name: "OpenApi",
    summary: "This document.",
    access: "open",
    answer: { "application/json": z.looseObject({ openapi: z.string() }) },
    errors: [],
  },
];
