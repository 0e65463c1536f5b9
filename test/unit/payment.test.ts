import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { ChatRequest } from "../../src/conversation.ts";
import { exitsAsked, limitDepth } from "../../src/exits.ts";
import { reserve, type Payer } from "../../src/payment.ts";
import type { Caller, ReserveAnswer, ReserveRequest } from "../../src/tenant/api.ts";
import type { Account } from "../../src/tenant/ledger/accounts.ts";
import type { Refusal } from "../../src/tenant/ledger/reserve.ts";
import { DEFAULT_PRICES, upperBound } from "../../src/tenant/pricing.ts";
import { refusalError } from "../../src/tenant/refusal-error.ts";
import { CALLER } from "./api-flow.ts";

const DEPLOYED = {
  name: "tiny",
  exits: [3, 6, 9, 12],
  edgeExits: [3, 6],
  origin: "ready" as const,
  edge: "ready" as const,
};
const AUTO = "tiny:auto";
const fixed = (exit: number) => `tiny:exit-${exit}`;
const callerOf = (tenant: number[] | null, key: number[] | null): Caller => ({
  ...CALLER,
  limits: { ...CALLER.limits, exits: key },
  policy: { ...CALLER.policy, exits: tenant },
});

describe("the exits that may answer", () => {
  test.each([
    ["all", AUTO, CALLER, DEPLOYED, [3, 6, 9, 12]],
    ["those of the edge without an origin", AUTO, CALLER, { ...DEPLOYED, origin: "absent" as const }, [3, 6]],
    ["those that tenant and key allow", AUTO, callerOf([3, 6, 9], [6, 12]), DEPLOYED, [6]],
    ["the one that was named", fixed(9), CALLER, DEPLOYED, [9]],
    ["a named one, although there is no origin now", fixed(9), CALLER, { ...DEPLOYED, origin: "absent" as const }, [9]],
  ])("%s", (_, model, caller, deployment, exits) => {
    expect(exitsAsked({ model, narrowing: {} }, caller, deployment).payable).toEqual(exits);
  });

  test.each([
    ["a named one that is not allowed", fixed(12), callerOf([3, 6], null), DEPLOYED],
    ["none in common", AUTO, callerOf([3], [6]), DEPLOYED],
    [
      "only those of an origin that is not there",
      AUTO,
      callerOf([9], null),
      { ...DEPLOYED, origin: "absent" as const },
    ],
  ])("403: %s", (_, model, caller, deployment) => {
    expect(() => exitsAsked({ model, narrowing: {} }, caller, deployment)).toThrow(
      expect.objectContaining({ status: 403, code: "exit_not_allowed", type: "permission_error" }),
    );
  });
});

describe("what narrows", () => {
  const LAYERS = fc.option(fc.integer({ min: 1, max: 12 }), { nil: null });
  const narrowing = fc.record({
    min_exit: LAYERS,
    max_exit: LAYERS,
    quality: fc.option(fc.constantFrom(0.8, 0.9, 0.99), { nil: null }),
  });
  test("of tenant, key and request always holds, and the narrowest wins", () => {
    fc.assert(
      fc.property(narrowing, narrowing, narrowing, (tenant, key, request) => {
        const caller = { ...CALLER, limits: { ...CALLER.limits, ...key }, policy: { ...CALLER.policy, ...tenant } };
        const all = [tenant, key, request];
        const allowed = DEPLOYED.exits.filter((exit) =>
          all.every(({ min_exit, max_exit }) => exit >= (min_exit ?? 0) && exit <= (max_exit ?? 12)),
        );
        const ask = () => exitsAsked({ model: AUTO, narrowing: request }, caller, DEPLOYED);
        if (allowed.length === 0) {
          expect(ask).toThrow(expect.objectContaining({ type: expect.any(String) }));
          return;
        }
        const { circumstances, payable, quality } = ask();
        expect(circumstances.exits).toEqual(allowed);
        expect(payable).toEqual(allowed);
        const named = all.flatMap((each) => each.quality ?? []);
        expect(quality).toBe(named.length === 0 ? null : Math.max(...named));
      }),
    );
  });
  test("the model id names a quality, too", () => {
    const asked = exitsAsked({ model: "tiny:auto@0.97", narrowing: { quality: 0.9 } }, CALLER, DEPLOYED);
    expect(asked.quality).toBe(0.97);
  });
});

describe("the deployment as a request sees it", () => {
  const { circumstances } = exitsAsked({ model: AUTO, narrowing: {} }, callerOf([6, 9, 12], null), DEPLOYED);
  test("has the exits that are allowed, and none deeper than what is paid", () => {
    expect(circumstances).toEqual({ exits: [6, 9, 12], edgeExits: [6], origin: "ready", edge: "ready" });
    expect(limitDepth(circumstances, 9)).toEqual({ exits: [6, 9], edgeExits: [6], origin: "ready", edge: "ready" });
    expect(limitDepth(circumstances, null)).toBe(circumstances);
  });
});

describe("reserving", () => {
  const request = { requestId: "r1", maxTokens: 50, choices: 2 } as ChatRequest;
  const generations = [
    { token_ids: [1, 2, 3], max_tokens: 50 },
    { token_ids: [1, 2, 3, 4, 5, 6, 7], max_tokens: 20 },
  ];
  const bill = { generations, exits: [3, 6], deepest: 12, exitFixed: false };
  const rates = { requests: { limit: 60, remaining: 59, resetMs: 1_500 }, tokens: null };

  async function reserving(answer: Partial<Extract<ReserveAnswer, { ok: true }>>) {
    const asked: ReserveRequest[] = [];
    const kept: Promise<unknown>[] = [];
    const payer: Payer = {
      caller: CALLER,
      admissionId: "a-1",
      ledger: {
        async reserve(ask) {
          asked.push(ask);
          return { ok: true, offer: ask.offers[0]!, lowered: null, rates, ...answer };
        },
        renew: async () => true,
        settle: async () => true,
      },
      leaseMs: 60_000,
      waitUntil: (settled) => void kept.push(settled),
    };
    const payment = await reserve(payer, request, bill);
    await payment.meter.release();
    await Promise.all(kept);
    expect(kept).toHaveLength(1);
    return { payment, asked: asked[0]! };
  }

  test("asks for the most it can cost, under the id of its admission", async () => {
    const { payment, asked } = await reserving({});
    expect(asked).toMatchObject({ requestId: "r1", keyId: "key_1", exitFixed: false });
    expect(asked.id).toBe("a-1");
    expect(asked.offers.map(({ maxExit }) => maxExit)).toEqual([6, 3]);
    // Each prompt once, each choice of each prompt in full.
    expect(asked.offers.map(({ tokens }) => tokens)).toEqual([150, 150]);
    expect(asked.offers[0]?.bound).toBe(upperBound(DEFAULT_PRICES, [3, 6], 12, 10, 140));
    expect(payment).toMatchObject({ maxExit: null, maxTokens: 50, note: "" });
    expect(payment.headers).toEqual({
      "x-ratelimit-limit-requests": "60",
      "x-ratelimit-remaining-requests": "59",
      "x-ratelimit-reset-requests": "1.5s",
    });
  });

  test("says what made it shallower or shorter", async () => {
    const shallower = await reserving({
      lowered: "daily",
      offer: { maxExit: 3, maxTokens: 50, tokens: 150, bound: 1 },
    });
    expect(shallower.payment).toMatchObject({ maxExit: 3, note: "; budget=daily; max_exit=3" });
    const shorter = await reserving({ lowered: "daily", offer: { maxExit: 3, maxTokens: 25, tokens: 100, bound: 1 } });
    expect(shorter.payment.note).toBe("; budget=daily; max_exit=3; max_tokens=25");
  });
});

describe("refusals on the wire", () => {
  const account: Account = {
    budget: "daily",
    period: "day",
    scope: "tenant",
    limit: 1_000_000,
    spent: 900_000,
    held: 50_000,
    resetsAt: Date.UTC(2026, 10, 26),
  };
  const budget = {
    name: "daily",
    period: "day",
    scope: "tenant",
    limit_usd: "1.000000",
    spent_usd: "0.900000",
    held_usd: "0.050000",
    resets_at: "2026-11-26T00:00:00.000Z",
  };
  const rates = { requests: null, tokens: { limit: 100, remaining: 0, resetMs: 60_000 } };
  test.each<[Refusal, string, Record<string, string>, object]>([
    [
      { kind: "budget_spent", account, bound: 200_000 },
      "insufficient_quota",
      { "x-should-retry": "false" },
      { budget },
    ],
    [{ kind: "exit_too_deep", account, maxExit: 6 }, "insufficient_quota", { "x-should-retry": "false" }, { budget }],
    [{ kind: "budget_held", account, retryAfterMs: 1_200 }, "rate_limit_exceeded", { "retry-after": "2" }, { budget }],
    [{ kind: "requests_per_minute", limit: 5, retryAfterMs: 10 }, "rate_limit_exceeded", { "retry-after": "1" }, {}],
    [{ kind: "tokens_per_minute", limit: 5, retryAfterMs: 9_000 }, "rate_limit_exceeded", { "retry-after": "9" }, {}],
    [
      { kind: "tokens_per_minute", limit: 5, retryAfterMs: null },
      "rate_limit_exceeded",
      { "x-should-retry": "false" },
      {},
    ],
    [{ kind: "concurrent_requests", limit: 5, retryAfterMs: 1_000 }, "rate_limit_exceeded", { "retry-after": "1" }, {}],
  ])("%j is %s", (refusal, code, headers, extra) => {
    const error = refusalError({ ok: false, refusal, rates });
    expect(error.status).toBe(429);
    expect(error.headers).toMatchObject({ ...headers, "x-ratelimit-limit-tokens": "100" });
    expect(Object.keys(error.headers).filter((name) => /retry/.test(name))).toEqual(Object.keys(headers));
    const body = error.toBody();
    expect(Object.keys(body.error)).toEqual(["message", "type", "param", "code"]);
    expect(body).toEqual({ error: expect.objectContaining({ code }), ...extra });
  });

  test("a key that was revoked meanwhile is a wrong key", () => {
    expect(refusalError({ ok: false, refusal: { kind: "key_invalid" }, rates: null })).toMatchObject({
      status: 401,
      code: "invalid_api_key",
    });
  });
});
