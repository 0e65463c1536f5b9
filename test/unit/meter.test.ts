import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { ApiError } from "../../src/errors.ts";
import type { TokenEvent } from "../../src/generation.ts";
import { Meter, type MeterOptions } from "../../src/meter.ts";
import { DEFAULT_PRICES, fullDepthCost, priced, pricedHit, type UsageLine } from "../../src/tenant/pricing.ts";

const LEASE_MS = 60_000;
const EDGE = { exit: 3, tier: "edge" } as const;
const token = (exit: number): TokenEvent => ({ type: "token", id: 1, logprob: -0.5, exit });
const end = (cached = 0): TokenEvent => ({
  type: "end",
  finish_reason: "stop",
  usage: { prompt_tokens: 100, cached_tokens: cached, completion_tokens_by_exit: {} },
  timings: { queue_ms: 0, prefill_ms: 0, decode_ms: 0 },
});
const never = new AbortController().signal;

async function* tokens(...events: readonly (TokenEvent | Error)[]): AsyncGenerator<TokenEvent, void> {
  for (const event of events) {
    if (event instanceof Error) throw event;
    yield event;
  }
}

/** A meter, and what it told the ledger. */
function metering(change: Partial<MeterOptions> = {}) {
  const settled: (readonly UsageLine[])[] = [];
  const renewed: (readonly UsageLine[])[] = [];
  const meter = new Meter(
    {
      requestId: "r1",
      whole: false,
      leaseMs: LEASE_MS,
      prompts: [100],
      price: (used) => priced(DEFAULT_PRICES, 12, used),
      fullDepthCost: (used) => fullDepthCost(DEFAULT_PRICES, 12, used),
      priceHit: (used) => pricedHit(DEFAULT_PRICES, 12, used),
      renew: async (lines) => renewed.push(lines) > 0,
      settle: async (lines) => settled.push(lines),
      ...change,
    },
    Date.now(),
  );
  return { meter, settled, renewed };
}

/** The one choice of an answer, settled when it ends. */
function whole(meter: Meter, source: AsyncIterable<TokenEvent>, gone: AbortSignal) {
  return meter.settling(meter.count(source, { tier: () => "edge", reads: 0 }), gone);
}

const lines: string[] = [];
beforeEach(() => {
  vi.useFakeTimers();
  lines.length = 0;
  for (const level of ["info", "warn", "error"] as const) {
    vi.spyOn(console, level).mockImplementation((line: string) => void lines.push(line));
  }
});
afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
});

async function drain(events: AsyncIterable<TokenEvent>): Promise<number> {
  let count = 0;
  for await (const _ of events) count += 1;
  return count;
}

describe("an answer is charged what it used", () => {
  test("tokens by exit, the prompt at the exit that read it, before the end is told", async () => {
    const { meter, settled } = metering();
    meter.startReading(0, EDGE);
    const seen: string[] = [];
    for await (const { type } of whole(meter, tokens(token(3), token(3), token(6), end()), never)) {
      seen.push(type);
      if (type === "end") expect(settled).toHaveLength(1);
    }
    expect(seen).toEqual(["token", "token", "token", "end"]);
    expect(settled).toEqual([
      [
        { ...EDGE, promptTokens: 100, cachedTokens: 0, completionTokens: 2, cost: expect.any(Number) },
        { exit: 6, tier: "edge", promptTokens: 0, cachedTokens: 0, completionTokens: 1, cost: expect.any(Number) },
      ],
    ]);
    expect(meter.charge().cost).toBe(settled[0]?.reduce((sum, { cost }) => sum + cost, 0));
    await meter.done;
  });

  test("what was sent before a tier failed", async () => {
    const { meter, settled } = metering();
    meter.startReading(0, EDGE);
    const events = whole(meter, tokens(token(3), new Error("tier fell over")), never);
    await expect(drain(events)).rejects.toThrow("tier fell over");
    expect(settled).toMatchObject([[{ promptTokens: 100, completionTokens: 1 }]]);
  });

  test("what was sent before its reader left, and the source is closed", async () => {
    const { meter, settled } = metering();
    meter.startReading(0, EDGE);
    const source = tokens(token(3), token(3), end());
    const closed = vi.spyOn(source, "return");
    for await (const _ of whole(meter, source, never)) break;
    expect(settled).toMatchObject([[{ completionTokens: 1 }]]);
    expect(closed).toHaveBeenCalled();
  });

  test("the prompt, when nobody ever reads", async () => {
    const { meter, settled } = metering();
    meter.startReading(0, EDGE);
    await whole(meter, tokens(token(3)), never).return?.();
    expect(settled).toMatchObject([[{ promptTokens: 100, completionTokens: 0 }]]);
  });

  test("at once when the client is gone, and only once", async () => {
    const { meter, settled } = metering();
    meter.startReading(0, EDGE);
    const client = new AbortController();
    const events = whole(meter, tokens(token(3), token(3), end()), client.signal);
    await events.next();
    client.abort();
    await meter.done;
    await events.next();
    await events.return?.();
    await meter.settle();
    await meter.release();
    expect(settled).toMatchObject([[{ completionTokens: 1 }]]);
  });

  test("nothing, when there was no answer", async () => {
    const { meter, settled } = metering();
    meter.startReading(0, EDGE);
    await meter.release();
    expect(settled).toEqual([[]]);
  });

  test("a ledger that does not answer is logged; the answer is not broken", async () => {
    const { meter } = metering({ settle: () => Promise.reject(new Error("object is gone")) });
    meter.startReading(0, EDGE);
    expect(await drain(whole(meter, tokens(token(3), end()), never))).toBe(2);
    expect(lines.join()).toContain("ledger.not_settled");
    await meter.done;
  });
});

describe("the lease", () => {
  test("is renewed with what was used so far, until the answer is settled", async () => {
    const { meter, renewed } = metering();
    meter.startReading(0, EDGE);
    const events = whole(meter, tokens(token(3), token(3), end()), never);
    await events.next();
    await vi.advanceTimersByTimeAsync(3 * LEASE_MS);
    expect(renewed).toHaveLength(12);
    expect(renewed.at(-1)).toMatchObject([{ completionTokens: 1 }]);
    expect(meter.lost.aborted).toBe(false);
    await events.return?.();
    await vi.advanceTimersByTimeAsync(LEASE_MS);
    expect(renewed).toHaveLength(12);
  });

  test.each([
    ["failing", () => Promise.reject(new Error("no"))],
    ["hanging", () => new Promise<boolean>(() => {})],
  ])("that cannot be renewed (%s) stops the answer before it ends", async (_, renew) => {
    const { meter, settled } = metering({ renew });
    meter.startReading(0, EDGE);
    const events = whole(meter, tokens(token(3), token(3), end()), never);
    await events.next();
    await vi.advanceTimersByTimeAsync(LEASE_MS / 2);
    expect(meter.lost.aborted).toBe(false);
    await vi.advanceTimersByTimeAsync(LEASE_MS / 4 + 1);
    expect(meter.lost.aborted).toBe(true);
    await expect(events.next()).rejects.toMatchObject({ status: 503, code: "answer_interrupted" });
    expect(settled).toMatchObject([[{ completionTokens: 1 }]]);
  });

  test("one lost renewal does no harm", async () => {
    let calls = 0;
    const { meter } = metering({
      renew: () => (++calls % 2 === 1 ? Promise.reject(new Error("no")) : Promise.resolve(true)),
    });
    await vi.advanceTimersByTimeAsync(10 * LEASE_MS);
    expect(meter.lost.aborted).toBe(false);
  });

  test("that is gone stops the answer at once", async () => {
    const { meter } = metering({ renew: async () => false });
    await vi.advanceTimersByTimeAsync(LEASE_MS / 4);
    expect(meter.lost.reason).toBeInstanceOf(ApiError);
  });
});
