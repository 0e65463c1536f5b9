/** From what the caller asked to what a tier is asked: bounds checked, `max_tokens` and seeds made definite. Pure. */
import type { ChatRequest } from "./conversation.ts";
import { ApiError } from "./errors.ts";
import type { GenerationRequest } from "./generation.ts";
import type { Bundle } from "./model/bundle.ts";
import type { EncodedPrompt } from "./prompt.ts";

/**
 * The generation for a prompt; its exit is set by the gates.
 * A `max_tokens` left out is what fits the context; one that the caller set must fit.
 * @throws ApiError 400 `context_length_exceeded`
 */
export function planGeneration(
  bundle: Bundle,
  request: ChatRequest,
  { tokenIds, param }: Pick<EncodedPrompt, "tokenIds" | "param">,
): Omit<GenerationRequest, "exit_layer"> {
  const context = bundle.shape.context_length;
  const room = context - tokenIds.length;
  const wanted = request.maxTokens ?? Math.max(room, 1);
  if (wanted > room) {
    const completion = request.maxTokens === null ? "" : ` and ${wanted} in the completion`;
    throw new ApiError(
      `This model's maximum context length is ${context} tokens. You asked for ${tokenIds.length + wanted}: ` +
        `${tokenIds.length} in the ${param}${completion || " and at least 1 in the completion"}. Please shorten the ${param} or the completion.`,
      { status: 400, type: "invalid_request_error", code: "context_length_exceeded", param },
    );
  }
  return {
    request_id: request.requestId,
    token_ids: [...tokenIds],
    answer_tokens: 0,
    max_tokens: wanted,
    sampling: request.sampling,
    top_logprobs: request.topLogprobs ?? 0,
    stop_token_ids: bundle.eos_token_ids,
  };
}

/** 2^32 over the golden ratio: seeds of neighbouring choices share no bits by design. */
const SEED_STEP = 0x9e3779b1;

/** The generation of one of several choices: the first has the caller's seed, the others one that follows from it. */
export function ofChoice<T extends Pick<GenerationRequest, "sampling">>(generation: T, choice: number): T {
  const seed = (generation.sampling.seed + Math.imul(SEED_STEP, choice)) >>> 0;
  return { ...generation, sampling: { ...generation.sampling, seed } };
}

/** The rest of a generation whose first tokens were sent already. */
export function afterTokens<T extends Pick<GenerationRequest, "token_ids" | "answer_tokens" | "max_tokens">>(
  generation: T,
  sent: readonly number[],
): T {
  return {
    ...generation,
    token_ids: [...generation.token_ids, ...sent],
    answer_tokens: generation.answer_tokens + sent.length,
    max_tokens: generation.max_tokens - sent.length,
  };
}
