/** Who pays for what: one hold a request, whatever prompts and choices it has, and one settlement, however it ends. */
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { chat } from "../../src/chat.ts";
import type { ChatRequest } from "../../src/conversation.ts";
import { DEFAULT_PRICES, upperBound } from "../../src/tenant/pricing.ts";
import { read, REQUEST, scripted, STAYS } from "./chat-tiers.ts";
import { budgetOf, memoryAccount, UNLIMITED } from "./memory-payer.ts";

const PROMPTS = [
  { kind: "text", text: "one" },
  { kind: "tokens", ids: [9, 10, 11] },
] as const;
/** Two prompts of 4 and 3 tokens, two choices each, of 4 tokens. */
const FOUR: ChatRequest = { ...REQUEST, model: "tiny:exit-6", prompts: PROMPTS, choices: 2 };
const FOUR_BOUND = upperBound(DEFAULT_PRICES, [6], 12, 7, 16);

beforeEach(() => {
  for (const level of ["info", "warn", "error"] as const) vi.spyOn(console, level).mockImplementation(() => {});
});
afterEach(() => void vi.restoreAllMocks());

describe("one reservation, one settlement", () => {
  test("each prompt once, every choice's tokens; the end tells what was settled", async () => {
    const account = memoryAccount();
    const answer = await chat(scripted().deps, account.payer, FOUR, STAYS);
    expect(account.held()).toBe(FOUR_BOUND);
    const { end } = await read(answer.events);
    await account.drained();
    expect(account.settled).toEqual([
      [{ exit: 6, tier: "edge", promptTokens: 7, cachedTokens: 0, completionTokens: 16, cost: FOUR_BOUND }],
    ]);
    expect([end.charge.cost, answer.charge().cost, account.held()]).toEqual([FOUR_BOUND, FOUR_BOUND, 0]);
  });

  test("is settled before the end is told", async () => {
    const account = memoryAccount();
    const { events } = await chat(scripted().deps, account.payer, FOUR, STAYS);
    for await (const event of events) expect(account.finished).toHaveLength(event.type === "end" ? 1 : 0);
  });

  test("a prompt that was handed over is paid once, at the exit that answered", async () => {
    const account = memoryAccount();
    const answer = await chat(scripted({ hard: true }).deps, account.payer, { ...REQUEST, choices: 3 }, STAYS);
    await read(answer.events);
    expect(account.settled).toMatchObject([[{ exit: 12, tier: "origin", promptTokens: 4, completionTokens: 12 }]]);
  });

  test("nothing when the first choice fails: no answer, no charge", async () => {
    const account = memoryAccount();
    const { deps } = scripted();
    const broken = { ...deps, edge: { run: async () => ({ ok: false, reason: "full", message: "" }) }, origin: null };
    await expect(chat(broken as never, account.payer, FOUR, STAYS)).rejects.toMatchObject({ status: 503 });
    await account.drained();
    expect(account.settled).toEqual([[]]);
    expect(account.held()).toBe(0);
  });

  test("what was produced when a tier fails in mid-answer, and the others stop", async () => {
    const account = memoryAccount();
    const { deps, state } = scripted({ breaksAt: 2 });
    const answer = await chat(deps, account.payer, FOUR, STAYS);
    await expect(read(answer.events)).rejects.toThrow("the tier fell over");
    await account.drained();
    expect(state.active).toBe(0);
    expect(account.settled).toHaveLength(1);
    const [line] = account.settled[0] ?? [];
    expect(line).toMatchObject({ promptTokens: 4 }); // the second prompt was never begun
    expect(line?.completionTokens).toBeGreaterThanOrEqual(2);
    expect(line?.completionTokens).toBeLessThanOrEqual(4);
  });

  test("nothing when an answer breaks off that would have been delivered whole; what it took is recorded", async () => {
    const account = memoryAccount();
    const answer = await chat(scripted({ breaksAt: 2 }).deps, account.payer, { ...FOUR, whole: true }, STAYS);
    await expect(read(answer.events)).rejects.toThrow("the tier fell over");
    await account.drained();
    expect(account.settled).toMatchObject([[{ promptTokens: 4, cost: 0 }]]);
    expect(account.finished).toMatchObject([{ ending: "settled" }]); // it counts to the minute
    expect([answer.charge().cost, account.held()]).toEqual([0, 0]);
  });

  test("nothing either when its lease is lost, but all of it when its client leaves", async () => {
    const lost = memoryAccount(UNLIMITED, 40);
    const { deps } = scripted({ pause: 5 });
    const interrupted = await chat(deps, lost.payer, { ...FOUR, maxTokens: 50, whole: true }, STAYS);
    lost.loseHolds();
    await expect(read(interrupted.events)).rejects.toMatchObject({ code: "answer_interrupted" });
    expect(lost.costs).toEqual([0]);
    const left = memoryAccount();
    const client = new AbortController();
    const { events } = await chat(scripted().deps, left.payer, { ...FOUR, maxTokens: 30, whole: true }, client.signal);
    const reading = events[Symbol.asyncIterator]();
    for (let seen = 0; seen < 3; seen++) await reading.next();
    client.abort();
    await left.drained();
    expect(left.costs[0]).toBeGreaterThan(0);
    await reading.return?.();
  });

  test.each(["the reader leaves", "the client aborts", "nobody ever reads"])("the same when %s", async (how) => {
    const account = memoryAccount();
    const client = new AbortController();
    const { deps, state } = scripted();
    const { events } = await chat(deps, account.payer, { ...FOUR, maxTokens: 30 }, client.signal);
    const reading = events[Symbol.asyncIterator]();
    if (how !== "nobody ever reads") for (let seen = 0; seen < 3; seen++) await reading.next();
    if (how === "the client aborts") client.abort();
    else await reading.return?.();
    await account.drained();
    expect(account.settled).toHaveLength(1);
    expect(account.settled[0]?.[0]?.promptTokens).toBe(4);
    expect(account.settled[0]?.[0]?.completionTokens).toBeLessThanOrEqual(6);
    expect(account.held()).toBe(0);
    await reading.return?.();
    await vi.waitFor(() => expect(state.active).toBe(0));
  });

  test("a lost lease stops every choice", async () => {
    const account = memoryAccount(UNLIMITED, 40);
    const { deps, state } = scripted({ pause: 5 });
    const answer = await chat(deps, account.payer, { ...FOUR, maxTokens: 50 }, STAYS);
    account.loseHolds();
    await expect(read(answer.events)).rejects.toMatchObject({ status: 503, code: "answer_interrupted" });
    await account.drained();
    expect(state.active).toBe(0);
    expect(state.edge.length).toBeLessThan(4);
    expect(account.finished).toEqual([]); // the ledger charged it when the hold went
  });

  test("a lost lease stops a tier that hangs", async () => {
    const account = memoryAccount(UNLIMITED, 2_000);
    const { deps, state } = scripted({ hangsAt: 1 });
    const answer = await chat(deps, account.payer, FOUR, STAYS);
    account.loseHolds();
    await expect(read(answer.events)).rejects.toMatchObject({ code: "answer_interrupted" });
    expect(state.active).toBe(0);
  });

  test("a lost lease is settled although nobody reads", async () => {
    const account = memoryAccount(UNLIMITED, 40);
    await chat(scripted().deps, account.payer, FOUR, STAYS);
    account.loseHolds();
    await account.drained();
    expect(account.settled).toHaveLength(1);
  });
});

describe("what the budget leaves", () => {
  const AUTO: ChatRequest = { ...FOUR, model: "tiny", maxTokens: null };

  test("a shallower exit for all choices, and the route says so", async () => {
    const { deps, state } = scripted();
    const bound = upperBound(DEFAULT_PRICES, [3], 12, 7, 16);
    const account = memoryAccount(budgetOf(bound));
    const answer = await chat(deps, account.payer, { ...AUTO, maxTokens: 4 }, STAYS);
    expect(answer.route.exit).toBe(3);
    expect(answer.route.reason).toContain("; budget=all; max_exit=3");
    const { end } = await read(answer.events);
    expect(end.route.reason.match(/budget=/g)).toHaveLength(1);
    expect(state.edge.map(({ request }) => request.exit_layer)).toEqual([3, 3, 3, 3]);
    expect(end.charge.cost).toBe(bound);
  });

  test("shorter choices where the length was left open", async () => {
    const { deps, state } = scripted({ pause: 0 });
    const account = memoryAccount(budgetOf(upperBound(DEFAULT_PRICES, [3], 12, 7, 4 * 30)));
    const answer = await chat(deps, account.payer, AUTO, STAYS);
    await read(answer.events);
    expect(answer.route.reason).toContain("; budget=all; max_exit=3; max_tokens=30");
    expect(state.edge.map(({ request }) => request.max_tokens)).toEqual([30, 30, 30, 30]);
  });

  test("none: 429 before anything is computed", async () => {
    const { deps, state } = scripted();
    const account = memoryAccount(budgetOf(upperBound(DEFAULT_PRICES, [3], 12, 7, 16) - 1));
    const refused = chat(deps, account.payer, { ...AUTO, maxTokens: 4 }, STAYS);
    await expect(refused).rejects.toMatchObject({ status: 429, code: "insufficient_quota" });
    expect([...state.edge, ...state.origin]).toEqual([]);
  });

  test("the hold's tokens count against the minute, for all choices together", async () => {
    const rates = { requests_per_minute: null, tokens_per_minute: 22, concurrent_requests: null };
    const account = memoryAccount({ ...UNLIMITED, rates });
    const refused = chat(scripted().deps, account.payer, FOUR, STAYS); // 7 + 16 tokens
    await expect(refused).rejects.toMatchObject({ status: 429, code: "rate_limit_exceeded" });
  });
});

test("no request is charged more than its hold, whatever it asks and however it ends", async () => {
  const prompt = fc.oneof(
    fc.record({ kind: fc.constant("text" as const), text: fc.stringMatching(/^[a-z]{1,12}$/) }),
    fc.record({ kind: fc.constant("tokens" as const), ids: fc.array(fc.nat({ max: 99 }), { minLength: 1 }) }),
  );
  const requests = fc.record({
    model: fc.constantFrom("tiny", "tiny:exit-3", "tiny:exit-6", "tiny:exit-12"),
    prompts: fc.array(prompt, { minLength: 1, maxLength: 4 }),
    choices: fc.integer({ min: 1, max: 4 }),
    maxTokens: fc.option(fc.integer({ min: 1, max: 20 })),
  });
  const tiers = fc.record({
    pause: fc.constant(0),
    places: fc.integer({ min: 1, max: 3 }),
    hard: fc.boolean(),
    breaksAt: fc.option(fc.nat({ max: 30 }), { nil: Infinity }),
  });
  const price = fc.record({ input: fc.nat(3e6), cached_input: fc.nat(3e6), output: fc.nat(3e6) });
  const policies = fc.record({
    limit: fc.nat({ max: 400 }),
    prices: fc.record({ full_depth: price, exits: fc.dictionary(fc.constantFrom("3", "6"), price) }),
  });
  const leaving = fc.option(fc.nat({ max: 40 }), { nil: Infinity });
  const seen = { refused: 0, ended: 0, broken: 0, left: 0 };
  const property = fc.asyncProperty(
    requests,
    tiers,
    policies,
    leaving,
    async (fields, how, { limit, prices }, leave) => {
      const account = memoryAccount(budgetOf(limit, { prices }));
      const request = { ...REQUEST, ...fields };
      const outcome = await ended(scripted(how).deps, account.payer, request, leave);
      seen[outcome] += 1;
      await account.drained();
      expect(account.held()).toBe(0);
      expect(account.settled).toHaveLength(outcome === "refused" ? 0 : 1);
      expect(account.finished).toHaveLength(account.settled.length);
      for (const [index, { hold }] of account.finished.entries()) {
        expect(account.costs[index]).toBeLessThanOrEqual(hold.bound);
        expect(hold.bound).toBeLessThanOrEqual(limit);
      }
    },
  );
  await fc.assert(property, { numRuns: 500 });
  for (const count of Object.values(seen)) expect(count).toBeGreaterThan(10); // every way was tried
});

/** Asks, reads some events, and says how it ended. */
async function ended(
  deps: Parameters<typeof chat>[0],
  payer: Parameters<typeof chat>[1],
  request: ChatRequest,
  leaveAfter: number,
): Promise<"refused" | "ended" | "broken" | "left"> {
  try {
    const { events, promptTokens } = await chat(deps, payer, request, STAYS);
    expect(promptTokens).toBeGreaterThan(0);
    let read = 0;
    for await (const event of events) {
      if (event.type === "end") return "ended";
      if (read++ === leaveAfter) return "left";
    }
    throw new Error("no end");
  } catch (error) {
    if (error instanceof Error && "status" in error && [400, 429].includes(Number(error.status))) return "refused";
    return "broken";
  }
}
