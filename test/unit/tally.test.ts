import { expect, test } from "vitest";
import { Tally } from "../../src/tally.ts";

const EDGE = { exit: 6, tier: "edge" } as const;
const ORIGIN = { exit: 6, tier: "origin" } as const;

test("nothing is used before a prompt is read", () => {
  expect(new Tally([4, 3]).lines()).toEqual([]);
});

test("one line an exit and tier: prompts where they are read, tokens where they are made", () => {
  const tally = new Tally([4, 3, 9]);
  tally.read(0, EDGE);
  tally.read(1, ORIGIN); // spilled: the same exit on the other tier
  tally.made(EDGE);
  tally.made(ORIGIN);
  tally.made(EDGE);
  tally.made({ exit: 12, tier: "origin" });
  expect(tally.lines()).toEqual([
    { ...EDGE, promptTokens: 4, cachedTokens: 0, completionTokens: 2 },
    { ...ORIGIN, promptTokens: 3, cachedTokens: 0, completionTokens: 1 },
    { exit: 12, tier: "origin", promptTokens: 0, cachedTokens: 0, completionTokens: 1 },
  ]);
});

test("a prompt counts once, at the exit that was named last", () => {
  const tally = new Tally([4]);
  tally.read(0, EDGE);
  tally.read(0, { exit: 12, tier: "origin" });
  expect(tally.lines()).toEqual([{ exit: 12, tier: "origin", promptTokens: 4, cachedTokens: 0, completionTokens: 0 }]);
});

test("no more of a prompt is cached than it has", () => {
  const tally = new Tally([4, 5]);
  tally.read(0, EDGE);
  tally.read(1, EDGE);
  tally.cached(0, 100);
  tally.cached(1, 2);
  expect(tally.lines()).toMatchObject([{ promptTokens: 9, cachedTokens: 6 }]);
});
