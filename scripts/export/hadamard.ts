/**
 * Rotation of activations before they are rounded to 8 bits, undone in the weights that read them.
 * SiLU(gate) · up has a few channels ten times as large as the rest, other ones for every token: with one scale a row
 * they leave the rest few of the 255 steps. An orthogonal Hadamard matrix spreads each over its block of channels;
 * x·H · (W·H)ᵀ is x·Wᵀ. After QuaRot (Ashkboos et al. 2024, "QuaRot: Outlier-Free 4-Bit Inference in Rotated LLMs"),
 * in blocks, so that it costs a small fraction of the product.
 */
import type { Matrix } from "./matrix.ts";

/**
 * Channels of a block. models/tiny, largest magnitude over root mean square, mean over tokens and layers: 10.2 without
 * rotation, 4.0 with blocks of 16, 3.6 of 32, 3.4 of 64; what costs is proportional to the block.
 */
const BLOCK = 32;

/** The largest block, a power of two of at most BLOCK, that divides `channels`. */
export function blockOf(channels: number): number {
  let block = BLOCK;
  while (channels % block !== 0) block /= 2;
  return block;
}

/** Sylvester's Hadamard matrix over √size: [size, size], symmetric and its own inverse. @param size a power of two. */
export function hadamard(size: number): Float32Array {
  const unit = 1 / Math.sqrt(size);
  return Float32Array.from({ length: size * size }, (_, i) =>
    hasEvenBits(Math.floor(i / size) & (i % size)) ? unit : -unit,
  );
}

function hasEvenBits(value: number): boolean {
  let bits = value;
  let even = true;
  for (; bits !== 0; bits &= bits - 1) even = !even;
  return even;
}

/** The matrix that gives for x·H what `matrix` gives for x. */
export function rotated(matrix: Matrix): Matrix {
  const { inputs } = matrix;
  const block = blockOf(inputs);
  const turn = hadamard(block);
  const rows = (from: number, to: number) => {
    const source = matrix.rows(from, to); // [to − from, K]
    const result = new Float32Array(source.length);
    for (let start = 0; start < source.length; start += block) {
      for (let column = 0; column < block; column++) {
        let sum = 0;
        for (let k = 0; k < block; k++) sum += source[start + k]! * turn[k * block + column]!;
        result[start + column] = sum;
      }
    }
    return result;
  };
  return { ...matrix, rows };
}
