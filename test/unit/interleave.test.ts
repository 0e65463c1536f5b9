/** Several sources as one: order, pace, and what happens when the reader or a source leaves early. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { interleave } from "../../src/interleave.ts";

const ignore = () => {};

/** Sources that count what they are asked for. */
function sources(lengths: readonly number[]) {
  const state = { opened: [] as number[], made: lengths.map(() => 0), closed: [] as number[] };
  const openers = lengths.map((length, at) => async () => {
    state.opened.push(at);
    async function* source(): AsyncGenerator<string, void> {
      try {
        while ((state.made[at] ?? 0) < length) {
          state.made[at] = (state.made[at] ?? 0) + 1;
          yield `${at}.${state.made[at]}`;
        }
      } finally {
        state.closed.push(at);
      }
    }
    return source();
  });
  return { openers, state };
}

describe("interleave", () => {
  test("every value of every source, each source's in order", async () => {
    const lengths = fc.array(fc.nat({ max: 5 }), { maxLength: 6 });
    await fc.assert(
      fc.asyncProperty(lengths, fc.integer({ min: 1, max: 4 }), async (given, atOnce) => {
        const { openers, state } = sources(given);
        const seen = await Array.fromAsync(interleave(openers, atOnce, ignore));
        for (const [at, length] of given.entries()) {
          const own = seen.filter(([index]) => index === at).map(([, value]) => value);
          expect(own).toEqual(Array.from({ length }, (_, count) => `${at}.${count + 1}`));
        }
        expect(state.opened).toEqual(given.map((_, at) => at));
      }),
    );
  });

  test("sources take turns, and the next opens when one ends", async () => {
    const { openers } = sources([2, 3, 1]);
    const seen = (await Array.fromAsync(interleave(openers, 2, ignore))).map(([, value]) => value);
    expect(seen.slice(0, 4)).toEqual(["0.1", "1.1", "0.2", "1.2"]);
    expect(seen.slice(4).toSorted()).toEqual(["1.3", "2.1"]);
  });

  test("one source is never ahead of its reader, others by one at most", async () => {
    for (const [lengths, ahead] of [
      [[9], 0],
      [[9, 9], 1],
    ] as const) {
      const { openers, state } = sources(lengths);
      const values = interleave(openers, 2, ignore);
      for (let read = 0; read < 4; read++) await values.next();
      await new Promise((resolve) => setTimeout(resolve, 5));
      expect(state.made.reduce((sum, made) => sum + made, 0)).toBeLessThanOrEqual(4 + ahead);
      await values.return();
    }
  });

  test("a reader that leaves closes what is open, opens nothing more, and says so first", async () => {
    const { openers, state } = sources([9, 9, 9]);
    const told: number[] = [];
    const values = interleave(openers, 2, () => told.push(state.closed.length));
    await values.next();
    await values.next();
    await values.return();
    expect(told).toEqual([0]);
    expect(new Set(state.closed)).toEqual(new Set([0, 1]));
    expect(state.opened).toEqual([0, 1]);
  });

  test("a source that fails closes the others; one that is still opening gives up", async () => {
    const gaveUp = Promise.withResolvers<never>();
    const { openers, state } = sources([9]);
    async function* broken(): AsyncGenerator<string, void> {
      yield "x";
      throw new Error("broken");
    }
    const all = [openers[0]!, async () => broken(), () => gaveUp.promise];
    const values = interleave(all, 3, () => gaveUp.reject(new Error("gave up")));
    await expect(Array.fromAsync(values)).rejects.toThrow("broken");
    expect(state.closed).toEqual([0]);
  });

  test("an end is no abandonment", async () => {
    const { openers } = sources([1, 1]);
    await Array.fromAsync(interleave(openers, 2, () => expect.unreachable()));
  });
});
