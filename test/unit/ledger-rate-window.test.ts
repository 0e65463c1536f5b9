import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type Begun, RateWindow } from "../../src/tenant/ledger/rate-window.ts";

const KEYS = ["a", "b", "c"];

/** Steps of a history: add one later by `gap`, end one that began, or forget what is older. */
const stepSchema = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.record({ do: fc.constant("add" as const), gap: fc.nat(3), key: fc.nat(2), tokens: fc.nat(50) }),
  },
  {
    weight: 3,
    arbitrary: fc.record({ do: fc.constant("end" as const), which: fc.nat(), tokens: fc.option(fc.nat(50)) }),
  },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("after" as const), back: fc.nat(600) }) },
);

describe("rate window", () => {
  test("says what a plain list says, and leaves its past alone", () => {
    fc.assert(
      fc.property(fc.array(stepSchema, { minLength: 1, maxLength: 900, size: "max" }), (steps) => {
        let list: readonly Begun[] = [];
        let window = RateWindow.of([]);
        let [clock, serial] = [0, 0];
        for (const step of steps) {
          const [before, listBefore] = [window, list];
          if (step.do === "add") {
            clock += step.gap;
            const entry = { id: `${serial++}`, keyId: KEYS[step.key] ?? "", at: clock, tokens: step.tokens };
            list = [...list, entry];
            window = window.add(entry);
          } else if (step.do === "after") {
            list = list.filter(({ at }) => at > clock - step.back);
            window = window.after(clock - step.back);
          } else {
            const ended = list[step.which % Math.max(list.length, 1)] ?? { id: "gone", at: clock };
            list = list.flatMap((entry) => {
              if (entry.id !== ended.id) return [entry];
              return step.tokens === null ? [] : [{ ...entry, tokens: step.tokens }];
            });
            window = window.end(ended.id, ended.at, step.tokens);
          }
          expect(before.tokens).toBe(sum(listBefore));
        }
        expect([...window]).toEqual(list);
        expect(window.tokens).toBe(sum(list));
        expect([...RateWindow.of(list)]).toEqual(list);
        for (const keyId of [null, ...KEYS]) {
          const own = list.filter((entry) => keyId === null || entry.keyId === keyId);
          expect(window.requests(keyId)).toBe(own.length);
          for (const n of [1, 2, 50, own.length, own.length + 1]) {
            expect(window.newest(n, keyId)).toEqual(n === 0 ? undefined : own.at(-n));
          }
        }
      }),
      { numRuns: 100 },
    );
  });
});

const sum = (list: readonly Begun[]): number => list.reduce((total, { tokens }) => total + tokens, 0);
