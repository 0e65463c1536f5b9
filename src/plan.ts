/** From what the caller asked to what a tier is asked: bounds checked, `max_tokens` made definite. Pure. */
import type { ChatRequest } from "./conversation.ts";
import { ApiError } from "./errors.ts";
import type { GenerationRequest } from "./generation.ts";
import type { Bundle } from "./model/bundle.ts";

/**
 * The generation for a prompt; its exit is set by the gates.
 * A `max_tokens` left out is what fits the context; one that the caller set must fit.
 * @throws ApiError 400 `context_length_exceeded`
 */
export function planGeneration(
  bundle: Bundle,
  request: ChatRequest,
  tokenIds: readonly number[],
): Omit<GenerationRequest, "exit_layer"> {
  const context = bundle.shape.context_length;
  const room = context - tokenIds.length;
  const wanted = request.maxTokens ?? Math.max(room, 1);
  if (wanted > room) {
    const completion = request.maxTokens === null ? "" : ` and ${wanted} in the completion`;
    throw new ApiError(
      `This model's maximum context length is ${context} tokens. You asked for ${tokenIds.length + wanted}: ` +
        `${tokenIds.length} in the messages${completion || " and at least 1 in the completion"}. Please shorten the messages or the completion.`,
      { status: 400, type: "invalid_request_error", code: "context_length_exceeded", param: "messages" },
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
