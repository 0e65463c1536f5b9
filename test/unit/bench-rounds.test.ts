/** Benchmarks compare what was measured in the same round. */
import { expect, it } from "vitest";
import { difference, figures, interleave, median, ratio } from "../../scripts/bench/rounds.ts";

it("measures every subject in turn within each round", async () => {
  const order: string[] = [];
  const subject = (name: string) => ({
    name,
    measure: async () => {
      order.push(name);
      return { at: order.length };
    },
  });
  const results = await interleave([subject("a"), subject("b")], 2, () => {});
  expect(order).toEqual(["a", "b", "a", "b"]);
  expect(figures(results, "b", "at")).toEqual([2, 4]);
  expect(() => figures(results, "c", "at")).toThrow("c was not measured");
  expect(() => figures(results, "a", "ms")).toThrow("a has no ms");
});

it("takes the middle of odd and even counts, whatever their order", () => {
  expect(median([9, 1, 10])).toBe(9);
  expect(median([4, 1, 3, 2])).toBe(2.5);
  expect(() => median([])).toThrow(RangeError);
});

it("takes ratios inside a round: a slow spell of the machine cancels out", () => {
  expect(ratio([2, 20, 200], [1, 10, 100])).toBe(2);
  expect(ratio([2, 20, 9], [1, 10, 3])).toBe(2);
});

it("takes differences inside a round, too", () => {
  expect(difference([3, 30, 12], [1, 28, 2])).toBe(2);
});
