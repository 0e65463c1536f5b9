/** The body of `POST /v1/chat/completions`: OpenAI's contract, as far as Sortie keeps it. */
import { z } from "zod";
import type { ChatRequest, Message } from "../conversation.ts";
import { MAX_TOP_LOGPROBS } from "../generation.ts";
import { MAX_CONTENT_PARTS, MAX_MESSAGES } from "./bounds.ts";
import {
  inertFields,
  modelField,
  nothing,
  samplingFields,
  sortieField,
  streamFields,
  streamOptionsNeedStream,
  tokenLimit,
  toEarlyExit,
  toNarrowing,
  toSampling,
  toStop,
  unsupported,
} from "./fields.ts";

const textPartSchema = z.strictObject({
  type: z.literal("text"),
  text: z.string(),
  prompt_cache_breakpoint: unsupported(),
});

/** The last keys are those of an answer: clients send `choices[0].message` back as it came. */
const messageSchema = z.strictObject({
  role: z.enum(["system", "developer", "user", "assistant"]),
  content: z.union([z.string(), z.array(textPartSchema).min(1).max(MAX_CONTENT_PARTS)]),
  name: unsupported(),
  refusal: unsupported(),
  tool_calls: unsupported(nothing),
  function_call: unsupported(),
  audio: unsupported(),
  annotations: unsupported(nothing),
});

export const messagesField = z.array(messageSchema).min(1).max(MAX_MESSAGES);

export const chatCompletionSchema = z
  .strictObject({
    model: modelField,
    messages: messagesField,

    max_completion_tokens: tokenLimit,
    max_tokens: tokenLimit.meta({
      deprecated: true,
      description: "The older name of `max_completion_tokens`; not both.",
    }),
    ...samplingFields,

    logprobs: z.boolean().nullish(),
    top_logprobs: z.int().min(0).max(MAX_TOP_LOGPROBS).nullish().meta({ description: "Only with `logprobs: true`." }),
    response_format: z.strictObject({ type: z.literal("text") }).nullish(),
    ...streamFields,
    sortie: sortieField,
    ...inertFields,

    audio: unsupported(),
    function_call: unsupported(z.enum(["none", "auto"])),
    functions: unsupported(nothing),
    logit_bias: unsupported(z.strictObject({})),
    modalities: unsupported(z.tuple([z.literal("text")])),
    moderation: unsupported(),
    parallel_tool_calls: unsupported(z.boolean()),
    prediction: unsupported(),
    prompt_cache_options: unsupported(),
    reasoning_effort: unsupported(z.literal("none")),
    tool_choice: unsupported(z.enum(["none", "auto"])),
    tools: unsupported(nothing),
    verbosity: unsupported(z.literal("medium")),
    web_search_options: unsupported(),
  })
  .refine(
    ({ max_tokens: older, max_completion_tokens: newer }) => (older ?? null) === null || (newer ?? null) === null,
    {
      path: ["max_tokens"],
      error: "'max_tokens' is the older name of 'max_completion_tokens': send only one of them",
    },
  )
  .refine(({ logprobs, top_logprobs }) => logprobs === true || (top_logprobs ?? null) === null, {
    path: ["top_logprobs"],
    error: "'top_logprobs' is only allowed when 'logprobs' is true",
  })
  .refine(...streamOptionsNeedStream);
export type ChatCompletionBody = z.infer<typeof chatCompletionSchema>;

/**
 * What the flow is asked.
 * @param randomSeed the seed when the caller gave none, 0..2^32-1
 */
export function toChatRequest(body: ChatCompletionBody, requestId: string, randomSeed: number): ChatRequest {
  return {
    requestId,
    model: body.model,
    prompts: [{ kind: "messages", messages: body.messages.map(toMessage) }],
    choices: body.n ?? 1,
    maxTokens: body.max_completion_tokens ?? body.max_tokens ?? null,
    sampling: toSampling(body, randomSeed),
    stop: toStop(body),
    topLogprobs: body.logprobs === true ? (body.top_logprobs ?? 0) : null,
    narrowing: toNarrowing(body),
    earlyExit: toEarlyExit(body),
  };
}

/** Parts are one text, joined as they are. `developer` is the newer name of `system`. */
export function toMessage({ role, content }: ChatCompletionBody["messages"][number]): Message {
  return {
    role: role === "developer" ? "system" : role,
    content: typeof content === "string" ? content : content.map((part) => part.text).join(""),
  };
}
