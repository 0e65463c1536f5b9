/** A flight whose leader's client leaves: it goes on as long as somebody reads along, and no longer. */
import { describe, expect, test, vi } from "vitest";
import { throughCache, type Flown } from "../../src/answer-cache.ts";
import type { Lead, ResponseClient } from "../../src/cache/response-client.ts";
import type { TextEvent } from "../../src/conversation.ts";
import { Interest } from "../../src/interest.ts";
import { closing } from "../../src/iteration.ts";

const TOKENS = 20;
const route = { exit: 3, tier: "edge", reason: "fixed" } as const;

/** A leader: what it tells, and whether somebody reads along when its client has left. */
function leader(readers: boolean) {
  const told: string[] = [];
  const ended = Promise.withResolvers<void>();
  const lead: Lead = {
    tell: (line) => void told.push((JSON.parse(line) as { type: string }).type),
    leave: () => void (readers || ended.resolve()),
    ended: ended.promise,
    finish: () => (told.push("finished"), ended.resolve()),
    abandon: () => ended.resolve(),
  };
  const client: ResponseClient = { enter: async () => ({ role: "lead", lead }), purge: async () => 0 };
  const gone = new AbortController();
  const interest = new Interest(gone.signal);
  let made = 0;
  async function* events(): AsyncGenerator<TextEvent, void> {
    for (; made < TOKENS; made++) {
      await new Promise((resolve) => setTimeout(resolve, 1));
      interest.over.throwIfAborted();
      yield { type: "text", index: 0, text: "x", tokens: [] };
    }
    yield { type: "end", route } as unknown as TextEvent;
  }
  const compute = async (): Promise<Flown> => {
    await new Promise((resolve) => setTimeout(resolve, 5));
    interest.over.throwIfAborted();
    return { route, events: closing(events(), async () => undefined) };
  };
  const cache = { client, tenant: "acme", key: "k", read: true, store: true, interest };
  return { told, gone, interest, made: () => made, flown: throughCache(cache, compute) };
}

const whole = ["route", ...Array.from({ length: TOKENS }, () => "text"), "end", "finished"].toSorted();

describe("a flight whose client is gone", () => {
  test.each(["aborts", "returns"])("goes on for those who read along: it %s", async (how) => {
    const { told, gone, interest, flown } = leader(true);
    const { events } = await flown;
    await events.next();
    if (how === "aborts") gone.abort(new Error("gone"));
    else void events.return?.();
    await vi.waitFor(() => expect(told.toSorted()).toEqual(whole));
    if (how === "aborts") await vi.waitFor(() => expect(interest.over.aborted).toBe(true)); // now it is settled
  });

  test("goes on even if it went before the first token", async () => {
    const { told, gone, flown } = leader(true);
    await new Promise((resolve) => setTimeout(resolve, 1)); // it leads, and computes
    gone.abort(new Error("gone"));
    await flown;
    await vi.waitFor(() => expect(told.toSorted()).toEqual(whole));
  });

  test("stops where nobody reads along", async () => {
    const { gone, interest, made, flown, told } = leader(false);
    const { events } = await flown;
    await events.next();
    gone.abort(new Error("gone"));
    await vi.waitFor(() => expect(interest.over.aborted).toBe(true));
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(made()).toBeLessThan(5);
    expect(told).not.toContain("finished");
  });

  test("before the first token, with nobody who reads along, it fails as any request that is left", async () => {
    const { gone, flown } = leader(false);
    gone.abort(new Error("gone"));
    await expect(flown).rejects.toThrow("gone");
  });
});

test("without a flight, an answer is wanted as long as its client is there", () => {
  const gone = new AbortController();
  const { over } = new Interest(gone.signal);
  expect(over.aborted).toBe(false);
  gone.abort("left");
  expect([over.aborted, over.reason]).toEqual([true, "left"]);
});
