/** Bounds of activations: nothing exceeds them, and far ones are not used. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { isTight, normLimit, valueLimit } from "../../scripts/export/limits.ts";

const numbers = (length: number) =>
  fc.array(fc.double({ min: -4, max: 4, noNaN: true }), { minLength: length, maxLength: length });

/** RMS norm of a row, times gains. */
function normed(row: readonly number[], gains: readonly number[]): number[] {
  const scale = Math.sqrt(row.reduce((sum, value) => sum + value * value, 0) / row.length) || 1;
  return row.map((value, i) => (value / scale) * gains[i]!);
}

describe("limits", () => {
  it("bound what a norm and a mean of values can be", () => {
    const [d, rows] = [6, 3];
    fc.assert(
      fc.property(
        fc.array(numbers(d), { minLength: 1, maxLength: 5 }),
        numbers(d),
        numbers(rows * d),
        numbers(rows),
        (tokens, gains, weights, biases) => {
          const norm = normLimit(Float32Array.from(gains));
          const limit = valueLimit(norm, Float32Array.from(weights), Float32Array.from(biases));
          const slack = 1 + 1e-5; // float32
          const inputs = tokens.map((token) => normed(token, gains));
          for (const value of inputs.flat()) expect(Math.abs(value)).toBeLessThanOrEqual(norm.most * slack + 1e-9);
          const values = inputs.map((input) =>
            biases.map((bias, row) => input.reduce((sum, value, i) => sum + value * weights[row * d + i]!, bias)),
          );
          for (let row = 0; row < rows; row++) {
            const mean = values.reduce((sum, value) => sum + value[row]!, 0) / values.length;
            expect(Math.abs(mean)).toBeLessThanOrEqual(limit.most * slack + 1e-9);
          }
        },
      ),
    );
  });

  it("are loose where one gain is far above the others", () => {
    const gains = new Float32Array(2048).fill(1);
    expect(isTight(normLimit(gains))).toBe(true);
    gains[7] = 4;
    expect(isTight(normLimit(gains))).toBe(true);
    gains[7] = 10;
    expect(isTight(normLimit(gains))).toBe(false);
  });
});
