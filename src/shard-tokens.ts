/** The tokens of a shard's stream, and after gate 3's handoff those of the tier that goes on. */
import type { Route } from "./conversation.ts";
import type { EdgeEvent, EdgeVerdict } from "./edge/job.ts";
import { afterPart, cappedCached, type TokenEvent } from "./generation.ts";
import type { Handoff } from "./handoff.ts";
import { closing } from "./iteration.ts";

/** What may happen in mid-answer; null where no gate is asked. */
export interface MidAnswer {
  /** A deeper exit of the edge goes on. */
  readonly moved: (to: Route) => void;
  /** The origin goes on after the tokens sent. */
  readonly goOn: (handoff: Handoff, sent: readonly number[], to: Route) => Promise<AsyncIterable<TokenEvent>>;
}

/** @throws Error when the stream is over: every stream ends with an event that says so */
export async function nextEvent(events: AsyncIterator<EdgeEvent>): Promise<EdgeEvent> {
  const next = await events.next();
  if (next.done === true) throw new Error("the edge exit's stream ended early");
  return next.value;
}

/** Tokens of a prompt that the request has had read before, all but `most` tokens of it. */
export function withCachedAtMost(most: number, events: AsyncIterable<TokenEvent>): AsyncIterable<TokenEvent> {
  const source = events[Symbol.asyncIterator]();
  async function* capped(): AsyncGenerator<TokenEvent, void> {
    for await (const event of { [Symbol.asyncIterator]: () => source }) yield cappedCached(event, most);
  }
  return closing(capped(), async () => source.return?.());
}

/** @param first of the stream, read already */
export function shardTokens(
  first: EdgeEvent,
  rest: AsyncIterator<EdgeEvent>,
  gates: MidAnswer | null,
): AsyncIterable<TokenEvent> {
  return closing(tokens(first, rest, gates), async () => rest.return?.());
}

async function* tokens(
  first: EdgeEvent,
  rest: AsyncIterator<EdgeEvent>,
  gates: MidAnswer | null,
): AsyncGenerator<TokenEvent, void> {
  const sent: number[] = [];
  let verdict: EdgeVerdict | null = null;
  for (let event = first; ; event = await nextEvent(rest)) {
    switch (event.type) {
      case "verdict":
        verdict = event;
        if (event.handoff === null) gates?.moved({ exit: event.exit, tier: "edge", reason: event.reason });
        break;
      case "handoff": {
        const spent = verdict?.handoff;
        if (gates === null || !verdict || !spent) throw new Error("an unexpected handoff from the edge exit");
        await rest.return?.(); // the shard's part is done: its place is free for others
        const { exit, reason } = verdict;
        const others = await gates.goOn(event.handoff, sent, { exit, tier: "origin", reason });
        for await (const next of others) yield afterPart(spent, next);
        return;
      }
      case "token":
        sent.push(event.id);
        yield event;
        break;
      case "end":
        yield event;
        return;
      default:
        event satisfies never;
    }
  }
}
