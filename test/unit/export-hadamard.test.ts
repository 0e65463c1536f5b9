/** The rotation that spreads outliers: orthogonal, its own inverse, and without effect on products. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { blockOf, hadamard, rotated } from "../../scripts/export/hadamard.ts";

describe("hadamard", () => {
  it.each([1, 2, 4, 8, 16, 32])("of size %i is its own inverse", (size) => {
    const h = hadamard(size);
    for (let row = 0; row < size; row++) {
      for (let column = 0; column < size; column++) {
        let sum = 0;
        for (let k = 0; k < size; k++) sum += h[row * size + k]! * h[k * size + column]!;
        expect(sum).toBeCloseTo(row === column ? 1 : 0, 5);
      }
    }
  });
});

describe("blockOf", () => {
  it("is a power of two that divides the channels", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 30_000 }), (channels) => {
        const block = blockOf(channels);
        expect(channels % block).toBe(0);
        expect(Math.log2(block) % 1).toBe(0);
        expect(channels % (2 * block) !== 0 || block === 32).toBe(true);
      }),
    );
  });
});

describe("rotated", () => {
  it("gives for rotated values what the matrix gives for plain ones", () => {
    const [inputs, outputs] = [96, 3];
    const weights = Float32Array.from({ length: inputs * outputs }, (_, i) => Math.sin(i * 3));
    const matrix = { inputs, outputs, rows: (a: number, b: number) => weights.slice(a * inputs, b * inputs) };
    const values = { inputs, outputs: 1, rows: () => Float32Array.from({ length: inputs }, (_, i) => Math.cos(i)) };
    const turned = rotated(values).rows(0, 1); // x·H, as a matrix of one row
    for (let row = 0; row < outputs; row++) {
      const dot = (x: Float32Array, w: Float32Array) => x.reduce((sum, value, i) => sum + value * w[i]!, 0);
      const plain = dot(values.rows(), matrix.rows(row, row + 1));
      expect(dot(turned, rotated(matrix).rows(row, row + 1))).toBeCloseTo(plain, 4);
    }
  });
});
