/** One answer of several choices: started a few at a time, told in one stream, added up at its end. */
import type { AnswerEnd, Charge, ChoiceEnd, ChoiceEvent, TextEvent } from "./conversation.ts";
import type { Timings, Usage } from "./generation.ts";
import { interleave, type Opener } from "./interleave.ts";

/**
 * Choices of one request that are made at the same time: half of what an edge shard takes at once, so that one request
 * never shuts the others out.
 */
export const CHOICES_AT_ONCE = 2;

/**
 * @param openers one a choice, by index: prompt by prompt, `choices` to a prompt
 * @param charge of all choices, read when the last has ended
 * @param abandon called when the answer is left before its end: must make choices that wait give up
 */
export async function* joinChoices(
  openers: readonly Opener<ChoiceEvent>[],
  choices: number,
  charge: () => Charge,
  abandon: () => void,
): AsyncGenerator<TextEvent, void> {
  const ends: (ChoiceEnd | undefined)[] = openers.map(() => undefined);
  for await (const [index, event] of interleave(openers, CHOICES_AT_ONCE, abandon)) {
    if (event.type === "text") {
      yield { ...event, index };
      continue;
    }
    ends[index] = event;
    yield { ...event, type: "finish", index };
  }
  yield answerEnd(
    ends.filter((end) => end !== undefined),
    choices,
    charge(),
  );
}

/** @param ends by index */
export function answerEnd(ends: readonly ChoiceEnd[], choices: number, charge: Charge): AnswerEnd {
  const [first] = ends;
  if (first === undefined) throw new Error("an answer without choices");
  const firstOfPrompts = ends.filter((_, index) => index % choices === 0);
  const byExit: Record<string, number> = {};
  for (const { usage } of ends) {
    for (const [exit, tokens] of Object.entries(usage.completion_tokens_by_exit)) {
      byExit[exit] = (byExit[exit] ?? 0) + tokens;
    }
  }
  const usage: Usage = {
    prompt_tokens: sum(firstOfPrompts, (end) => end.usage.prompt_tokens),
    cached_tokens: sum(firstOfPrompts, (end) => end.usage.cached_tokens),
    completion_tokens_by_exit: byExit,
  };
  const finishReasons = ends.map(({ finishReason }) => finishReason);
  return { type: "end", finishReasons, usage, timings: summed(ends), route: first.route, charge };
}

function summed(ends: readonly ChoiceEnd[]): Timings | null {
  const timings = ends.flatMap((end) => end.timings ?? []);
  if (timings.length < ends.length) return null;
  return {
    queue_ms: sum(timings, ({ queue_ms }) => queue_ms),
    prefill_ms: sum(timings, ({ prefill_ms }) => prefill_ms),
    decode_ms: sum(timings, ({ decode_ms }) => decode_ms),
  };
}

function sum<T>(items: readonly T[], amount: (item: T) => number): number {
  return items.reduce((total, item) => total + amount(item), 0);
}
