import { readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Metrics } from "../../src/origin/server-metrics.ts";
import { RequestQueue } from "../../src/origin/server-queue.ts";
import { bucketEnd, bucketOf, countsOf, percentile, summed } from "../../src/telemetry/counters.ts";
import { drift } from "../../src/telemetry/drift.ts";
import { dataPoint } from "../../src/telemetry/dataset.ts";
import { logFields, routeParts, type AnswerRecord } from "../../src/telemetry/request-event.ts";

const RECORD: AnswerRecord = {
  ending: "completed",
  requestId: "r1",
  tenant: "acme",
  keyId: "key_1",
  fingerprint: "f00d",
  operation: "chat",
  choices: 1,
  requestModel: "tiny",
  responseModel: "tiny",
  firstExit: 3,
  firstTier: "edge",
  exit: 9,
  tier: "origin",
  route: "gate=prefill; score=0.741; threshold=0.870; reason=hard",
  cache: "miss",
  finishReasons: ["stop"],
  inputTokens: 40,
  cachedTokens: 8,
  tokensByExit: { 3: 1, 9: 4 },
  cost: 3,
  fullDepthCost: 4,
  firstTokenMs: 100,
  durationMs: 140,
  timings: { queue_ms: 1, prefill_ms: 2, decode_ms: 3 },
  traceId: null,
};

describe("drift", () => {
  const expected = { gates: { prompt: 0, prefill: 0.9, decode: 0.1 }, exits: { 3: 0.6, 12: 0.4 } };
  const counted = (label: string, count: number) => ({ name: "cascades" as const, label, count });
  test("what the gates do stands beside what was expected, by range and target", () => {
    const counts = [
      counted("f00d 3-12 0.95 prefill 3", 60),
      counted("f00d 3-12 0.95 prefill 12", 30),
      counted("f00d 3-12 0.95 decode 12", 10),
      counted("f00d 3-6 0.95 prefill 3", 5),
      counted("beef 3-12 0.95 prefill 12", 50), // another checkpoint's, before it was replaced
    ];
    const seen = drift(counts, "f00d", (range, quality) => (range === "3-12" && quality === 0.95 ? expected : null));
    expect(seen).toMatchObject([{ range: "3-12", quality: 0.95, answers: 100 }]);
    const near = [...seen[0]!.gates, ...seen[0]!.exits];
    for (const { observed, expected: wanted, deviation } of near) {
      expect(observed).toBeCloseTo(wanted);
      expect(deviation).toBeCloseTo(0);
    }
  });
  test("traffic that got harder stands out", () => {
    const counts = [counted("f00d 3-12 0.95 prefill 3", 20), counted("f00d 3-12 0.95 prefill 12", 80)];
    const [seen] = drift(counts, "f00d", () => expected);
    expect(seen!.exits.find(({ name }) => name === "12")!.deviation).toBeGreaterThan(3);
    expect(seen!.exits.find(({ name }) => name === "3")!.deviation).toBeLessThan(-3);
  });
  test("only answers whose exit the gates chose are counted for it", () => {
    const route = "gate=prefill; score=0.7; threshold=0.9; quality=0.95; reason=hard; range=3-12";
    expect(routeParts(route).target).toBe("3-12 0.95");
    expect(countsOf({ ...RECORD, route })).toContainEqual(counted("f00d 3-12 0.95 prefill 9", 1));
    expect(routeParts("gate=none; reason=fixed").target).toBeNull();
  });
});

describe("one request", () => {
  test("the log's line has OpenTelemetry's names, and every number", () => {
    expect(logFields(RECORD)).toMatchObject({
      request_id: "r1",
      "gen_ai.operation.name": "chat",
      "gen_ai.usage.input_tokens": 40,
      "gen_ai.usage.output_tokens": 5,
      "gen_ai.response.finish_reasons": ["stop"],
      cost_micro_usd: 3,
      full_depth_cost_micro_usd: 4,
      per_token_ms: 10,
      prefill_ms: 2,
    });
  });

  test("the dataset's columns stand where docs/telemetry.md says", () => {
    expect(dataPoint(RECORD)).toEqual({
      indexes: ["acme"],
      blobs: ["completed", "origin", "9", "prefill", "hard", "miss", "chat", "tiny", "f00d", "key_1"],
      doubles: [40, 8, 5, 3, 4, 100, 10, 140, 0.741, 3],
    });
  });

  test("its counters", () => {
    expect(countsOf(RECORD).map(({ name, label, count }) => `${name} ${label}: ${count}`)).toEqual([
      "requests completed: 1",
      "exits 9 origin: 1",
      "gates prefill hard: 1",
      "prompt_tokens read: 32",
      "prompt_tokens cached: 8",
      "cost charged: 3",
      "cost full_depth: 4",
      `duration_ms ${bucketOf(140)}: 1`,
      "cache miss: 1",
      "tokens 3: 1",
      "tokens 9: 4",
      `first_token_ms ${bucketOf(100)}: 1`,
      `per_token_ms ${bucketOf(10)}: 1`,
    ]);
    const refused = countsOf({ ending: "refused", status: 429, code: "insufficient_quota" });
    expect(refused.map(({ name, label }) => `${name} ${label}`)).toEqual([
      "requests refused",
      "errors 429 insufficient_quota",
    ]);
  });

  test.each([
    ["gate=none; reason=fixed", { gate: "none", reason: "fixed", score: null, target: null }],
    ["degraded; origin=timeout", { gate: "none", reason: "degraded", score: null, target: null }],
    ["gate=prompt; score=0.5; reason=easy; budget=day", { gate: "prompt", reason: "easy", score: 0.5, target: null }],
  ])("route %s", (route, parts) => expect(routeParts(route)).toEqual(parts));
});

test("every metric of the dashboard stands in the origin's /metrics", () => {
  const queue = new RequestQueue({ active: 1, waiting: 1 });
  const text = new Metrics(queue).render({ bytes: 0, blocks: 0, evicted: 0, asked: 0, found: 0 });
  const there = new Set([...text.matchAll(/^# TYPE (\S+)/gm)].map(([, name]) => name));
  const dashboard = JSON.parse(readFileSync("docs/grafana.json", "utf8")) as {
    panels: { targets: { expr: string }[] }[];
  };
  const queries = dashboard.panels.flatMap(({ targets }) => targets.map(({ expr }) => expr));
  const asked = queries.flatMap((query) => query.match(/sortie_\w+/g) ?? []);
  expect(asked.length).toBeGreaterThanOrEqual(queries.length); // each panel asks for one of ours at least
  expect(asked.filter((name) => !there.has(name))).toEqual([]);
});

test("what only grows is a counter, and named as one", () => {
  const text = new Metrics(new RequestQueue({ active: 1, waiting: 1 })).render({
    bytes: 0,
    blocks: 0,
    evicted: 3,
    asked: 0,
    found: 0,
  });
  expect(text).toContain("# TYPE sortie_origin_cache_evicted_total counter\nsortie_origin_cache_evicted_total 3\n");
  for (const [, name, type] of text.matchAll(/^# TYPE (\S+) (\S+)/gm))
    expect(name!.endsWith("_total")).toBe(type === "counter");
});

describe("histograms", () => {
  test("a percentile is no smaller than the true one, and at most a fifth larger", () => {
    const times = fc.array(fc.double({ min: 1, max: 1e6, noNaN: true }), { minLength: 1, maxLength: 200 });
    fc.assert(
      fc.property(times, fc.double({ min: 0.01, max: 1, noNaN: true }), (values, share) => {
        const buckets: Record<string, number> = {};
        for (const value of values) buckets[bucketOf(value)] = (buckets[bucketOf(value)] ?? 0) + 1;
        const exact = values.toSorted((a, b) => a - b)[Math.ceil(share * values.length) - 1] ?? 0;
        const told = percentile(buckets, share) ?? 0;
        expect(told).toBeGreaterThanOrEqual(exact * (1 - 1e-9));
        expect(told).toBeLessThanOrEqual(exact * 2 ** 0.25 * (1 + 1e-9));
      }),
    );
    expect(percentile({}, 0.5)).toBeNull();
    expect(bucketEnd(bucketOf(1))).toBe(1);
  });

  test("sums lose nothing, in whatever order they are made", () => {
    const count = fc.record({
      name: fc.constantFrom("requests", "tokens"),
      label: fc.constantFrom("a", "b"),
      count: fc.nat(9),
    });
    fc.assert(
      fc.property(fc.array(count), (counts) => {
        const total = (list: readonly { count: number }[]) => list.reduce((sum, one) => sum + one.count, 0);
        expect(total(summed(counts as never))).toBe(total(counts));
        const twice = summed([...summed(counts.slice(0, 3) as never), ...summed(counts.slice(3) as never)]);
        expect(twice.toSorted(byKey)).toEqual(summed(counts as never).toSorted(byKey));
      }),
    );
  });
});

function byKey(a: { name: string; label: string }, b: { name: string; label: string }): number {
  return `${a.name} ${a.label}`.localeCompare(`${b.name} ${b.label}`);
}
