import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { floatToHalf, floatToHalfInBits, halfToFloat, halfToFloatInBits } from "../../src/float16.ts";

const EVERY_HALF = Uint16Array.from({ length: 65536 }, (_, i) => i);
const isNaNHalf = (bits: number): boolean => (bits & 0x7fff) > 0x7c00;

describe("float16", () => {
  it("has the runtime's Float16Array to be held against", () => {
    expect("Float16Array" in globalThis).toBe(true);
  });

  it("reads every half as the runtime does, and writes it back", () => {
    const fromRuntime = new Float32Array(65536);
    const inBits = new Float32Array(65536);
    halfToFloat(EVERY_HALF, fromRuntime);
    halfToFloatInBits(EVERY_HALF, inBits);
    expect(inBits).toEqual(fromRuntime);
    for (const write of [floatToHalf, floatToHalfInBits]) {
      const back = new Uint16Array(65536);
      write(inBits, back);
      expect(back.filter((bits, i) => bits !== i && !isNaNHalf(i))).toHaveLength(0);
    }
  });

  it("rounds every float as the runtime does", () => {
    const sameRounding = (values: Float32Array): void => {
      const fromRuntime = new Uint16Array(values.length);
      const inBits = new Uint16Array(values.length);
      floatToHalf(values, fromRuntime);
      floatToHalfInBits(values, inBits);
      for (let i = 0; i < values.length; i++) {
        if (!Number.isNaN(values[i])) expect([values[i], inBits[i]]).toEqual([values[i], fromRuntime[i]]);
        else expect(isNaNHalf(inBits[i]!)).toBe(true);
      }
    };
    fc.assert(fc.property(fc.float32Array({ minLength: 1, maxLength: 64 }), sameRounding), { numRuns: 2_000 });
    // The middles between halves, and their neighbours: where ties are decided.
    const halves = new Float32Array(65536);
    halfToFloat(EVERY_HALF, halves);
    const middles = Array.from({ length: 0x7bff }, (_, i) => (halves[i]! + halves[i + 1]!) / 2);
    sameRounding(Float32Array.from(middles.flatMap((m) => [m, m * (1 + 2 ** -22), m * (1 - 2 ** -22), -m])));
  });
});
