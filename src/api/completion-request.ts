/** The body of `POST /v1/completions`: OpenAI's legacy contract, as far as Sortie keeps it. */
import { z } from "zod";
import type { ChatRequest, Prompt } from "../conversation.ts";
import { DEFAULT_COMPLETION_TOKENS, MAX_CHOICES, MAX_COMPLETION_LOGPROBS, MAX_PROMPT_TOKENS } from "./bounds.ts";
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

const tokenIds = z.array(z.int().min(0)).min(1).max(MAX_PROMPT_TOKENS);

/** One prompt or several, as text or as token ids. */
const promptSchema = z
  .union([z.string(), z.array(z.string()).min(1).max(MAX_CHOICES), tokenIds, z.array(tokenIds).min(1).max(MAX_CHOICES)])
  .nullable()
  .meta({ description: "null: the beginning of a text, as a checkpoint has one." });
type PromptField = z.infer<typeof promptSchema>;

export const completionSchema = z
  .strictObject({
    model: modelField,
    prompt: promptSchema,

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

function promptsOf(prompt: PromptField): Prompt[] {
  if (prompt === null || typeof prompt === "string") return [{ kind: "text", text: prompt ?? "" }];
  if (isTokenIds(prompt)) return [{ kind: "tokens", ids: prompt }];
  return prompt.map((one) => (typeof one === "string" ? { kind: "text", text: one } : { kind: "tokens", ids: one }));
}

function isTokenIds(prompt: Exclude<PromptField, string | null>): prompt is number[] {
  return typeof prompt[0] === "number";
}
