/** A chat answer as server-sent events. */
import type { TextEvent } from "../conversation.ts";
import type { ApiError } from "../errors.ts";
import { finishChunk, roleChunk, textChunk, usageChunk, type AnswerHead, type AnswerView } from "./chat-response.ts";
import { dataFrame, DONE_FRAME } from "./sse.ts";

/**
 * Yields the role, the text, why it ended, the usage if asked, and `[DONE]`. A failure is the last frame: the status
 * was sent long ago.
 * @param toApiError what the client may be told of a failure
 */
export async function* chatFrames(
  head: AnswerHead,
  view: AnswerView,
  events: AsyncIterable<TextEvent>,
  toApiError: (error: unknown) => ApiError,
): AsyncGenerator<string, void> {
  yield dataFrame(roleChunk(head, view));
  try {
    for await (const event of events) {
      if (event.type === "text") {
        yield dataFrame(textChunk(head, view, event));
        continue;
      }
      yield dataFrame(finishChunk(head, view, event));
      if (view.includeUsage) yield dataFrame(usageChunk(head, event.usage));
      yield DONE_FRAME;
    }
  } catch (error) {
    yield dataFrame(toApiError(error).toBody());
  }
}
