/** The body of `POST /v1/chat/completions`: OpenAI's contract, as far as Sortie keeps it. */
import { z } from "zod";
import type { ChatRequest, Message } from "../conversation.ts";
import { MAX_TOP_LOGPROBS, samplingSchema } from "../generation.ts";
import {
  MAX_CONTENT_PARTS,
  MAX_IDENTIFIER_CHARS,
  MAX_MESSAGES,
  MAX_METADATA_KEY_CHARS,
  MAX_METADATA_PAIRS,
  MAX_METADATA_VALUE_CHARS,
  MAX_MODEL_CHARS,
  MAX_STOP_CHARS,
  MAX_STOP_SEQUENCES,
} from "./bounds.ts";

/** A refinement's code on the wire, carried in the issue's `params`. */
export const UNSUPPORTED = { code: "unsupported_parameter" };

/** A parameter Sortie does not have: accepted when absent, null, or a value that asks for nothing. */
function unsupported(neutral: z.ZodType = z.never()) {
  const asksForNothing = (value: unknown): boolean =>
    value === undefined || value === null || neutral.safeParse(value).success;
  return z.unknown().refine(asksForNothing, { params: UNSUPPORTED }).optional();
}

const nothing = z.array(z.unknown()).max(0);
const identifier = z.string().max(MAX_IDENTIFIER_CHARS).nullish();

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

const stopSequenceSchema = z.string().min(1).max(MAX_STOP_CHARS);

const limits = samplingSchema.shape;

export const chatCompletionSchema = z
  .strictObject({
    model: z.string().min(1).max(MAX_MODEL_CHARS),
    messages: z.array(messageSchema).min(1).max(MAX_MESSAGES),

    max_tokens: z.int().min(1).nullish(),
    max_completion_tokens: z.int().min(1).nullish(),
    stop: z.union([stopSequenceSchema, z.array(stopSequenceSchema).max(MAX_STOP_SEQUENCES)]).nullish(),
    n: z.literal(1).nullish(),

    temperature: limits.temperature.unwrap().nullish(),
    top_p: limits.top_p.unwrap().nullish(),
    presence_penalty: limits.presence_penalty.unwrap().nullish(),
    frequency_penalty: limits.frequency_penalty.unwrap().nullish(),
    /** Any integer that JSON carries exactly. */
    seed: z.int().nullish(),
    /** Extensions, named as vLLM and transformers name them. */
    top_k: limits.top_k.unwrap().nullish(),
    min_p: limits.min_p.unwrap().nullish(),
    repetition_penalty: limits.repetition_penalty.unwrap().nullish(),

    logprobs: z.boolean().nullish(),
    top_logprobs: z.int().min(0).max(MAX_TOP_LOGPROBS).nullish(),
    response_format: z.strictObject({ type: z.literal("text") }).nullish(),
    stream: z.boolean().nullish(),
    stream_options: z
      .strictObject({
        include_usage: z.boolean().nullish(),
        /** Ours: exit and confidence of every token, and the route, in a `sortie` field of the chunks. */
        include_sortie: z.boolean().nullish(),
        include_obfuscation: z.literal(false).nullish(),
      })
      .nullish(),

    // These change nothing here.
    user: identifier,
    safety_identifier: identifier,
    prompt_cache_key: identifier,
    prompt_cache_retention: identifier,
    metadata: z
      .record(z.string().max(MAX_METADATA_KEY_CHARS), z.string().max(MAX_METADATA_VALUE_CHARS))
      .refine((pairs) => Object.keys(pairs).length <= MAX_METADATA_PAIRS, `has more than ${MAX_METADATA_PAIRS} pairs`)
      .nullish(),
    store: z.literal(false).nullish(),
    service_tier: z.enum(["auto", "default"]).nullish(),

    // These would.
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
    ({ max_tokens: older, max_completion_tokens: newer }) => (older ?? newer ?? null) === (newer ?? older ?? null),
    {
      path: ["max_tokens"],
      error: "'max_tokens' and 'max_completion_tokens' differ: send only one of them",
    },
  )
  .refine(({ logprobs, top_logprobs }) => logprobs === true || (top_logprobs ?? null) === null, {
    path: ["top_logprobs"],
    error: "'top_logprobs' is only allowed when 'logprobs' is true",
  })
  .refine(({ stream, stream_options }) => stream === true || (stream_options ?? null) === null, {
    path: ["stream_options"],
    error: "'stream_options' is only allowed when 'stream' is true",
  });
export type ChatCompletionBody = z.infer<typeof chatCompletionSchema>;

/**
 * What the flow is asked.
 * @param randomSeed the seed when the caller gave none, 0..2^32-1
 */
export function toChatRequest(body: ChatCompletionBody, requestId: string, randomSeed: number): ChatRequest {
  const sampling = {
    temperature: body.temperature ?? undefined,
    top_p: body.top_p ?? undefined,
    top_k: body.top_k ?? undefined,
    min_p: body.min_p ?? undefined,
    repetition_penalty: body.repetition_penalty ?? undefined,
    presence_penalty: body.presence_penalty ?? undefined,
    frequency_penalty: body.frequency_penalty ?? undefined,
    seed: typeof body.seed === "number" ? foldSeed(body.seed) : randomSeed,
  };
  return {
    requestId,
    model: body.model,
    messages: body.messages.map(toMessage),
    maxTokens: body.max_completion_tokens ?? body.max_tokens ?? null,
    sampling: samplingSchema.parse(sampling),
    stop: typeof body.stop === "string" ? [body.stop] : (body.stop ?? []),
    topLogprobs: body.logprobs === true ? (body.top_logprobs ?? 0) : null,
  };
}

/** Parts are one text, joined as they are. `developer` is the newer name of `system`. */
function toMessage({ role, content }: ChatCompletionBody["messages"][number]): Message {
  return {
    role: role === "developer" ? "system" : role,
    content: typeof content === "string" ? content : content.map((part) => part.text).join(""),
  };
}

/** Knuth's multiplicative constant, 2^32 over the golden ratio: spreads the high half over the low one. */
const SPREAD = 0x9e3779b1;

/** A seed of up to 53 bits as 32; seeds below 2^32 stay as they are. */
export function foldSeed(seed: number): number {
  const high = Math.floor(seed / 2 ** 32);
  return (seed ^ Math.imul(high, SPREAD)) >>> 0;
}
