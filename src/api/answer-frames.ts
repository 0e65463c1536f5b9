/** An answer as server-sent events. */
import type { TextEvent } from "../conversation.ts";
import type { ApiError } from "../errors.ts";
import { characters, chunk, sortieSummary, sortieTokens, usageChunk } from "./answer.ts";
import type { AnswerForm, AnswerHead, AnswerView } from "./answer.ts";
import { dataFrame, DONE_FRAME } from "./sse.ts";

/**
 * Yields every choice's opening, the texts and ends as they come, the usage if asked, and `[DONE]`. A failure is the
 * last frame: the status was sent long ago.
 * @param choices how many there are
 * @param toApiError what the client may be told of a failure
 */
export async function* answerFrames(
  form: AnswerForm,
  head: AnswerHead,
  view: AnswerView,
  choices: number,
  events: AsyncIterable<TextEvent>,
  toApiError: (error: unknown) => ApiError,
): AsyncGenerator<string, void> {
  const spoken = Array.from({ length: choices }, () => 0); // characters of each choice's tokens
  for (let index = 0; index < choices; index++) {
    const opening = form.opening(index);
    if (opening !== null) yield dataFrame(chunk(form, head, view, opening));
  }
  try {
    for await (const event of events) {
      if (event.type === "text") {
        const offset = spoken[event.index] ?? 0;
        spoken[event.index] = offset + event.tokens.reduce((sum, { text }) => sum + characters(text), 0);
        yield dataFrame(chunk(form, head, view, form.piece(event, offset, view), sortieTokens(event)));
      } else if (event.type === "finish") {
        const summary = sortieSummary(event.route, event.usage);
        yield dataFrame(chunk(form, head, view, form.finish(event), summary));
      } else {
        if (view.includeUsage) yield dataFrame(usageChunk(form, head, event.usage));
        yield DONE_FRAME;
      }
    }
  } catch (error) {
    yield dataFrame(toApiError(error).toBody());
  }
}
