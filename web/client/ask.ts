/** Asks a running Sortie and follows its answer: the one client of the page and of `sortie chat`. */
import { EventSourceParserStream } from "eventsource-parser/stream";
import { newAnswer, withChunk, withHeaders, type Answer } from "./answer.ts";
import { brokenStream, endedEarly, failureOf, unreachable } from "./failure.ts";
import type { ChatChunk, Message } from "./wire.ts";

export interface Question {
  /** Base address without a slash at its end; empty: the page's own. */
  readonly url: string;
  readonly key: string;
  /** `<name>`, `<name>:exit-<k>`, … */
  readonly model: string;
  readonly messages: readonly Message[];
  readonly temperature: number;
  readonly maxTokens: number | null;
}

const DONE = "[DONE]";

/**
 * Yields the answer after everything that is heard of it. Never throws: what fails is the last answer's `failure`, and an
 * abort ends it as `stopped`.
 */
export async function* ask(question: Question, signal: AbortSignal): AsyncGenerator<Answer, void> {
  let answer = newAnswer(question.model);
  const sentAt = performance.now();
  try {
    const response = await send(question, signal);
    if (!response.ok || response.body === null) {
      const failure = failureOf(response.status, response.headers, await response.text());
      return yield { ...answer, state: "failed", failure };
    }
    yield (answer = withHeaders(answer, response.headers));
    const reader = response.body
      .pipeThrough(new TextDecoderStream())
      .pipeThrough(new EventSourceParserStream())
      .getReader();
    // No `for await`: not every browser iterates streams.
    for (let next = await reader.read(); !next.done; next = await reader.read()) {
      const { data } = next.value;
      if (data === DONE) return yield { ...answer, state: "done" };
      const chunk = JSON.parse(data) as ChatChunk | { error: unknown };
      if ("error" in chunk) {
        return yield { ...answer, state: "failed", failure: brokenStream(chunk, answer.requestId) };
      }
      yield (answer = withChunk(answer, chunk, performance.now() - sentAt));
    }
    yield { ...answer, state: "failed", failure: endedEarly(answer.requestId) };
  } catch (error) {
    if (signal.aborted) yield { ...answer, state: "stopped" };
    else yield { ...answer, state: "failed", failure: unreachable(error) };
  }
}

function send({ url, key, model, messages, temperature, maxTokens }: Question, signal: AbortSignal): Promise<Response> {
  return fetch(`${url}/v1/chat/completions`, {
    method: "POST",
    headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
    body: JSON.stringify({
      model,
      messages,
      temperature,
      ...(maxTokens === null ? {} : { max_completion_tokens: maxTokens }),
      logprobs: true,
      stream: true,
      stream_options: { include_sortie: true },
    }),
    signal,
  });
}
