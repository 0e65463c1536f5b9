import { describe, expect, test, vi } from "vitest";
import { exitsAtEdge, settings } from "../../src/env.ts";
import { describeError, log } from "../../src/log.ts";

const variables = {
  EDGE_EXITS: "6, 3",
  EDGE_SHARDS: "2",
  ORIGIN_URL: "http://127.0.0.1:8788",
  ORIGIN_SECRET: "local-development-only",
  OPENAI_EXITS: '[{"exit": 9, "url": "https://engine.example/v1", "model": "view-9", "key": "engine-secret"}]',
  CORS_ORIGINS: "https://app.example, https://b.example:8443",
  ADMIN_TOKEN: "a-token-for-tests-only",
  LEASE_SECONDS: "30",
  BLOCK_CACHE_MB: "4",
  BLOCK_DTYPE: "F16",
  SHARED_SYSTEM_PROMPTS: "ab".repeat(32),
};

describe("settings", () => {
  test("strings become what they mean", () => {
    expect(settings(variables)).toEqual({
      edgeExits: [3, 6],
      fingerprint: null,
      edgeShards: 2,
      origin: { url: "http://127.0.0.1:8788", secret: "local-development-only" },
      openaiExits: [
        {
          exit: 9,
          url: "https://engine.example/v1",
          model: "view-9",
          key: "engine-secret",
          prompt: "ids",
          answer: "text",
        },
      ],
      corsOrigins: ["https://app.example", "https://b.example:8443"],
      adminToken: "a-token-for-tests-only",
      blocks: { maxBytes: 4e6, ttlMs: 3_600_000, dtype: "F16" },
      sharedSystemPrompts: ["ab".repeat(32)],
      handoffs: "auto",
      handoffDtype: "F32",
      archiveTtlMs: 86_400_000,
      responseTtlMs: 3_600_000,
      leaseMs: 30_000,
      logText: false,
      playgroundKey: null,
      shadowQuality: null,
    });
  });

  test("what may be left out", () => {
    expect(settings({})).toEqual({
      edgeExits: null,
      fingerprint: null,
      edgeShards: 1,
      origin: null,
      openaiExits: [],
      corsOrigins: [],
      adminToken: null,
      blocks: { maxBytes: 16e6, ttlMs: 3_600_000, dtype: "F32" },
      sharedSystemPrompts: [],
      handoffs: "auto",
      handoffDtype: "F32",
      archiveTtlMs: 86_400_000,
      responseTtlMs: 3_600_000,
      leaseMs: 60_000,
      logText: false,
      playgroundKey: null,
      shadowQuality: null,
    });
    expect(settings({ ...variables, ORIGIN_URL: "" }).origin).toBeNull();
  });

  test.each([
    ["", [3, 6, 9], [3, 6]],
    ["", [5], [5]],
    ["9, 3", [3, 6, 9], [3, 9]],
    ["4", [3, 6, 9], []],
  ])("EDGE_EXITS=%j of the exits %j: the edge serves %j", (EDGE_EXITS, exits, served) => {
    expect(exitsAtEdge(settings({ EDGE_EXITS }), exits)).toEqual(served);
  });

  test.each([
    ["ADMIN_TOKEN", "short"],
    ["ADMIN_TOKEN", "two words, long enough"],
    ["LEASE_SECONDS", "0"],
    ["LEASE_SECONDS", "forever"],
    ["EDGE_EXITS", "three"],
    ["EDGE_EXITS", "0"],
    ["BLOCK_CACHE_MB", "65"],
    ["BLOCK_DTYPE", "F8"],
    ["SHARED_SYSTEM_PROMPTS", "You are helpful."],
    ["EDGE_SHARDS", "0"],
    ["EDGE_SHARDS", "many"],
    ["ORIGIN_URL", "ftp://secret-host"],
    ["ORIGIN_URL", "secret-host"],
    ["ORIGIN_SECRET", ""],
    ["OPENAI_EXITS", "not-json"],
    ["OPENAI_EXITS", '{"exit": 9}'],
    ["OPENAI_EXITS", '[{"exit": 9, "url": "ftp://secret-host", "model": "m"}]'],
    ["OPENAI_EXITS", '[{"exit": 0, "url": "https://secret-host", "model": "m"}]'],
    ["CORS_ORIGINS", "other.example"],
    ["CORS_ORIGINS", "https://other.example/path"],
  ])("%s=%j is refused by name, its value never told", (name, value) => {
    const attempt = () => settings({ ...variables, [name]: value });
    expect(attempt).toThrow(new RegExp(`^configuration: ${name} `));
    if (value.length > 5) expect(attempt).not.toThrow(value);
  });

  test("every variable that is wrong is named at once", () => {
    expect(() => settings({ ...variables, EDGE_EXITS: "x", EDGE_SHARDS: "x" })).toThrow(/EDGE_EXITS .*; EDGE_SHARDS /);
  });
});

describe("log", () => {
  test("one line of JSON, long values clipped", () => {
    const spy = vi.spyOn(console, "error").mockImplementation(() => {});
    log("test.event", { text: `a\nb${"x".repeat(10_000)}`, tokens: { 3: 1 } }, "error");
    const line = spy.mock.calls[0]?.[0] as string;
    spy.mockRestore();
    expect(line).not.toContain("\n");
    expect(line.length).toBeLessThan(5_000);
    expect(JSON.parse(line)).toMatchObject({ level: "error", event: "test.event", tokens: { 3: 1 } });
  });

  test("an error's causes are told, even when they go in a circle", () => {
    const error = new Error("outer", { cause: new Error("inner") });
    expect(describeError(error)).toMatch(/outer[\s\S]*caused by [\s\S]*inner/);
    const circle = new Error("circle");
    circle.cause = circle;
    expect(describeError(circle).match(/circle/g)?.length).toBeGreaterThan(0);
  });
});
