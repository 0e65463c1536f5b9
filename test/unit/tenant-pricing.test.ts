import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { formatUsd, parseUsd } from "../../src/money.ts";
import { periodEnd, periodStart, PERIODS } from "../../src/tenant/period.ts";
import type { PriceList } from "../../src/tenant/policy.ts";
import {
  DEFAULT_PRICES,
  fullDepthCost,
  offers,
  priced,
  priceOf,
  upperBound,
  type ExitTokens,
} from "../../src/tenant/pricing.ts";

const EXITS = [3, 6, 9, 12];
const LIST: PriceList = {
  full_depth: { input: 100_000, cached_input: 50_000, output: 400_000 },
  exits: { "6": { input: 1, cached_input: 2, output: 3 } },
};

describe("money", () => {
  test.each([
    [0, "0.000000"],
    [1, "0.000001"],
    [1_234_567, "1.234567"],
    [-20, "-0.000020"],
    [12_000_000_000, "12000.000000"],
  ])("%i micro-dollars are %s", (micro, text) => expect(formatUsd(micro)).toBe(text));

  test("dollars to micro-dollars and back", () => {
    fc.assert(fc.property(fc.nat(1e15), (micro) => parseUsd(micro / 1e6) === micro));
    expect(parseUsd(0.1)).toBe(100_000);
    expect(parseUsd(0.000_000_1)).toBeNull();
  });
});

describe("periods", () => {
  const at = Date.UTC(2026, 10, 25, 16, 45, 12, 345); // a Wednesday
  test.each([
    ["hour", "2026-11-25T16:00:00.000Z", "2026-11-25T17:00:00.000Z"],
    ["day", "2026-11-25T00:00:00.000Z", "2026-11-26T00:00:00.000Z"],
    ["week", "2026-11-23T00:00:00.000Z", "2026-11-30T00:00:00.000Z"],
    ["month", "2026-11-01T00:00:00.000Z", "2026-12-01T00:00:00.000Z"],
  ] as const)("the %s", (period, start, end) => {
    expect(new Date(periodStart(period, at)).toISOString()).toBe(start);
    expect(new Date(periodEnd(period, Date.parse(start)) ?? 0).toISOString()).toBe(end);
  });

  test("every instant lies in exactly one", () => {
    fc.assert(
      fc.property(fc.constantFrom(...PERIODS), fc.nat(4e12), (period, now) => {
        const start = periodStart(period, now);
        const end = periodEnd(period, start);
        expect(start).toBeLessThanOrEqual(now);
        expect(end ?? Infinity).toBeGreaterThan(now);
        expect(periodStart(period, start)).toBe(start);
        if (end !== null) expect(periodStart(period, end)).toBe(end);
      }),
    );
  });
});

describe("prices", () => {
  test("are in proportion to the layers that run, unless configured", () => {
    expect(priceOf(LIST, 12, 12)).toEqual(LIST.full_depth);
    expect(priceOf(LIST, 3, 12)).toEqual({ input: 25_000, cached_input: 12_500, output: 100_000 });
    expect(priceOf(LIST, 6, 12)).toEqual({ input: 1, cached_input: 2, output: 3 });
  });

  test("round up once a request, not once a line", () => {
    const line = { tier: "edge", cachedTokens: 0, completionTokens: 0 } as const;
    const lines = priced(DEFAULT_PRICES, 12, [
      { ...line, exit: 12, promptTokens: 1 },
      { ...line, exit: 12, promptTokens: 1 },
    ]);
    expect(lines.map(({ cost }) => cost)).toEqual([1, 0]);
  });

  test("cached input costs less", () => {
    const tokens: ExitTokens = {
      exit: 12,
      tier: "edge",
      promptTokens: 1_000_000,
      cachedTokens: 0,
      completionTokens: 0,
    };
    expect(priced(LIST, 12, [tokens])[0]?.cost).toBe(100_000);
    expect(priced(LIST, 12, [{ ...tokens, cachedTokens: 1_000_000 }])[0]?.cost).toBe(50_000);
  });

  const price = fc.record({ input: fc.nat(1e9), cached_input: fc.nat(1e9), output: fc.nat(1e9) });
  const lists = fc.record({
    full_depth: price,
    exits: fc.dictionary(fc.constantFrom(...EXITS.map(String)), price),
  });

  test("the upper bound is one, whatever exits make the tokens", () => {
    const request = fc.record({
      prompt: fc.nat(131_072),
      cached: fc.nat(131_072),
      max: fc.integer({ min: 1, max: 4_096 }),
    });
    fc.assert(
      fc.property(
        lists,
        request,
        fc.array(fc.tuple(fc.nat(3), fc.nat(2_000))),
        (prices, { prompt, cached, max }, made) => {
          let left = max;
          const tokens = made.map(([index, count], at): ExitTokens => {
            const completionTokens = Math.min(count, left);
            left -= completionTokens;
            const promptTokens = at === 0 ? prompt : 0;
            const cachedTokens = Math.min(cached, promptTokens);
            return { exit: EXITS[index] ?? 3, tier: "edge", promptTokens, cachedTokens, completionTokens };
          });
          const lines = priced(prices, 12, tokens);
          const total = lines.reduce((sum, { cost }) => sum + cost, 0);
          expect(total).toBeLessThanOrEqual(upperBound(prices, EXITS, 12, prompt, max));
          for (const { cost } of lines) expect(cost).toBeGreaterThanOrEqual(0);
          expect(Number.isSafeInteger(total)).toBe(true);
        },
      ),
    );
  });
});

describe("offers", () => {
  test("from the deepest exit to the shallowest", () => {
    const list = offers(DEFAULT_PRICES, EXITS, 12, { promptTokens: 100, choices: [100], mayShorten: false });
    expect(list.map(({ maxExit }) => maxExit)).toEqual([12, 9, 6, 3]);
    expect(list.map(({ bound }) => bound)).toEqual([50, 38, 25, 13]);
  });

  test("then shorter, where the caller left the length open", () => {
    const list = offers(DEFAULT_PRICES, [3, 6], 12, { promptTokens: 10, choices: [100], mayShorten: true });
    expect(list.map(({ maxExit, maxTokens }) => [maxExit, maxTokens])).toEqual([
      [6, 100],
      [3, 100],
      [3, 50],
      [3, 25],
    ]);
  });

  test("of several choices: the prompts once, each choice in full, or as long as all may be", () => {
    const size = { promptTokens: 10, choices: [100, 100, 40, 40], mayShorten: true };
    const list = offers(DEFAULT_PRICES, [3, 6], 12, size);
    expect(list.map(({ maxTokens, tokens }) => [maxTokens, tokens])).toEqual([
      [100, 290],
      [100, 290],
      [50, 190],
      [25, 110],
    ]);
    for (const { maxExit, tokens, bound } of list) {
      const exits = [3, 6].filter((exit) => exit <= maxExit);
      expect(bound).toBe(upperBound(DEFAULT_PRICES, exits, 12, 10, tokens - 10));
    }
  });

  test("the largest request at the highest prices is still exact", () => {
    const dearest = { input: 1e9, cached_input: 1e9, output: 1e9 };
    const size = { promptTokens: 512 * 1024, choices: Array<number>(16).fill(128 * 1024), mayShorten: false };
    const [offer] = offers({ full_depth: dearest, exits: {} }, [12], 12, size);
    expect(Number.isSafeInteger((offer?.bound ?? NaN) * 1e6)).toBe(true);
    expect(offer?.bound).toBe((512 * 1024 + 16 * 128 * 1024) * 1e3);
  });

  test("a depth's bound covers every shallower exit, however prices are configured", () => {
    const dear: PriceList = { ...LIST, exits: { "3": { input: 1e9, cached_input: 0, output: 1e9 } } };
    const list = offers(dear, EXITS, 12, { promptTokens: 10, choices: [10], mayShorten: false });
    for (const { bound } of list) expect(bound).toBeGreaterThanOrEqual(20_000);
  });
});

test("the deepest exit costs as much as any mix of exits with as many tokens, or more", () => {
  const line = fc.record({
    exit: fc.constantFrom(3, 6, 9, 12),
    tier: fc.constantFrom("edge" as const, "origin" as const),
    promptTokens: fc.nat(5_000),
    cachedTokens: fc.constant(0),
    completionTokens: fc.nat(5_000),
  });
  fc.assert(
    fc.property(fc.array(line, { maxLength: 4 }), (tokens) => {
      const cost = priced(DEFAULT_PRICES, 12, tokens).reduce((sum, used) => sum + used.cost, 0);
      const full = fullDepthCost(DEFAULT_PRICES, 12, tokens);
      expect(full).toBeGreaterThanOrEqual(cost);
      if (tokens.every(({ exit }) => exit === 12)) expect(full).toBe(cost);
    }),
  );
});
