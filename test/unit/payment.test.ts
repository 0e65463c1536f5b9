import { describe, expect, test } from "vitest";
import type { ChatRequest } from "../../src/conversation.ts";
import { exitsFor, reserve, type Payer } from "../../src/payment.ts";
import type { Caller, ReserveAnswer, ReserveRequest } from "../../src/tenant/api.ts";
import type { Account } from "../../src/tenant/ledger/accounts.ts";
import type { Refusal } from "../../src/tenant/ledger/reserve.ts";
import { refusalError } from "../../src/tenant/refusal-error.ts";
import { CALLER } from "./api-flow.ts";

const DEPLOYED = { exits: [3, 6, 9, 12], edgeExits: [3, 6], originConfigured: true };
const AUTO = { kind: "auto" } as const;
const fixed = (exit: number) => ({ kind: "fixed", exit }) as const;
const callerOf = (tenant: number[] | null, key: number[] | null): Caller => ({
  ...CALLER,
  limits: { ...CALLER.limits, exits: key },
  policy: { ...CALLER.policy, exits: tenant },
});

describe("the exits that may answer", () => {
  test.each([
    ["all", AUTO, CALLER, DEPLOYED, [3, 6, 9, 12]],
    ["those of the edge without an origin", AUTO, CALLER, { ...DEPLOYED, originConfigured: false }, [3, 6]],
    ["those that tenant and key allow", AUTO, callerOf([3, 6, 9], [6, 12]), DEPLOYED, [6]],
    ["the one that was named", fixed(9), CALLER, DEPLOYED, [9]],
    ["a named one, although there is no origin now", fixed(9), CALLER, { ...DEPLOYED, originConfigured: false }, [9]],
  ])("%s", (_, policy, caller, deployment, exits) => {
    expect(exitsFor(policy, caller, deployment)).toEqual(exits);
  });

  test.each([
    ["a named one that is not allowed", fixed(12), callerOf([3, 6], null), DEPLOYED],
    ["none in common", AUTO, callerOf([3], [6]), DEPLOYED],
    ["only those of an origin that is not there", AUTO, callerOf([9], null), { ...DEPLOYED, originConfigured: false }],
  ])("403: %s", (_, policy, caller, deployment) => {
    expect(() => exitsFor(policy, caller, deployment)).toThrow(
      expect.objectContaining({ status: 403, code: "exit_not_allowed", type: "permission_error" }),
    );
  });
});

describe("reserving", () => {
  const request = { requestId: "r1", maxTokens: 50 } as ChatRequest;
  const bill = { promptTokens: 10, maxTokens: 50, exits: [3, 6], deepest: 12, exitFixed: false };
  const rates = { requests: { limit: 60, remaining: 59, resetMs: 1_500 }, tokens: null };

  async function reserving(answer: Partial<Extract<ReserveAnswer, { ok: true }>>) {
    const asked: ReserveRequest[] = [];
    const kept: Promise<unknown>[] = [];
    const payer: Payer = {
      caller: CALLER,
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

  test("asks for the most it can cost, under an id of its own", async () => {
    const { payment, asked } = await reserving({});
    expect(asked).toMatchObject({ requestId: "r1", keyId: "key_1", promptTokens: 10, exitFixed: false });
    expect(asked.id).not.toBe("r1");
    expect(asked.offers.map(({ maxExit }) => maxExit)).toEqual([6, 3]);
    expect(payment).toMatchObject({ exits: [3, 6], maxTokens: 50, note: "" });
    expect(payment.headers).toEqual({
      "x-ratelimit-limit-requests": "60",
      "x-ratelimit-remaining-requests": "59",
      "x-ratelimit-reset-requests": "1.5s",
    });
  });

  test("says what made it shallower or shorter", async () => {
    const shallower = await reserving({ lowered: "daily", offer: { maxExit: 3, maxTokens: 50, bound: 1 } });
    expect(shallower.payment).toMatchObject({ exits: [3], note: "; budget=daily; max_exit=3" });
    const shorter = await reserving({ lowered: "daily", offer: { maxExit: 3, maxTokens: 25, bound: 1 } });
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
