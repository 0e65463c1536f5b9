/** The body of `POST /v1/completions`: OpenAI's legacy contract, as far as Sortie keeps it. */
import { z } from "zod";
import type { ChatRequest } from "../conversation.ts";
import { DEFAULT_COMPLETION_TOKENS, MAX_CHOICES, MAX_COMPLETION_LOGPROBS } from "./bounds.ts";
import {
  inertFields,
  modelField,
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
import { promptField, promptsOf } from "./prompt-field.ts";

export const completionSchema = z
  .strictObject({
    model: modelField,
    prompt: promptField,

    max_tokens: tokenLimit.meta({ description: `${DEFAULT_COMPLETION_TOKENS} when left out.` }),
    ...samplingFields,
    logprobs: z.int().min(0).max(MAX_COMPLETION_LOGPROBS).nullish(),
    ...streamFields,
    sortie: sortieField,
    ...inertFields,

    best_of: unsupported(z.literal(1)),
    echo: unsupported(z.literal(false)),
    logit_bias: unsupported(z.strictObject({})),
    suffix: unsupported(z.literal("")),
  })
  .refine(({ prompt, n }) => promptsOf(prompt).length * (n ?? 1) <= MAX_CHOICES, {
    path: ["n"],
    error: `the prompts times 'n' are more than ${MAX_CHOICES} choices`,
  })
  .refine(...streamOptionsNeedStream);
export type CompletionBody = z.infer<typeof completionSchema>;

/**
 * What the flow is asked.
 * @param randomSeed the seed when the caller gave none, 0..2^32-1
 */
export function toCompletionRequest(body: CompletionBody, requestId: string, randomSeed: number): ChatRequest {
  return {
    requestId,
    model: body.model,
    prompts: promptsOf(body.prompt),
    choices: body.n ?? 1,
    maxTokens: body.max_tokens ?? DEFAULT_COMPLETION_TOKENS,
    sampling: toSampling(body, randomSeed),
    stop: toStop(body),
    topLogprobs: body.logprobs ?? null,
    narrowing: toNarrowing(body),
    earlyExit: toEarlyExit(body),
  };
}
