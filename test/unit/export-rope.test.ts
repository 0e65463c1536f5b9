/**
 * Scaled rotary frequencies against figures of transformers 5.23.0 (`ROPE_INIT_FUNCTIONS`), float32: head_dim 16,
 * θ = 10,000 except for llama3. The YaRN and llama3 cases blend, so that every branch has a pair in it.
 */
import { describe, expect, it } from "vitest";
import { rope } from "../../scripts/export/rope.ts";

const CONTEXT = { headDim: 16, theta: 10_000, maxPositions: 4096 };
/** float32 and float64 arithmetic differ in the last digit. */
const RELATIVE = 1e-6;

/** Made once by transformers' ROPE_INIT_FUNCTIONS[rope_type]. */
const TRANSFORMERS = [
  {
    name: "llama3",
    fields: {
      rope_type: "llama3",
      factor: 8.0,
      low_freq_factor: 1.0,
      high_freq_factor: 4.0,
      original_max_position_embeddings: 8192,
    },
    context: { headDim: 32, theta: 500000.0, maxPositions: 131072 },
    frequencies: [
      1.0, 0.4403666, 0.1939228, 0.0853971, 0.03760603, 0.01656044, 0.007292665, 0.003211446, 0.000524846, 7.784655e-5,
      3.428102e-5, 1.509622e-5, 6.64787e-6, 2.9275e-6, 1.289173e-6, 5.677088e-7,
    ],
    amplitude: 1.0,
  },
  {
    name: "yarn",
    fields: { rope_type: "yarn", factor: 4.0, original_max_position_embeddings: 1024 },
    context: {},
    frequencies: [1.0, 0.3162278, 0.08125, 0.01976424, 0.004375, 0.0007905695, 0.00025, 7.905695e-5],
    amplitude: 1.138629436111989,
  },
  {
    name: "yarn, no rounding, own betas",
    fields: {
      rope_type: "yarn",
      factor: 4.0,
      original_max_position_embeddings: 1024,
      truncate: false,
      beta_fast: 16,
      beta_slow: 2,
    },
    context: {},
    frequencies: [1.0, 0.3162278, 0.1, 0.0187018, 0.0025, 0.0007905695, 0.00025, 7.905695e-5],
    amplitude: 1.138629436111989,
  },
  {
    name: "yarn, mscale",
    fields: {
      rope_type: "yarn",
      factor: 40.0,
      original_max_position_embeddings: 512,
      mscale: 1.0,
      mscale_all_dim: 0.7,
    },
    context: {},
    frequencies: [1.0, 0.2391472, 0.05125, 0.008498622, 0.00025, 7.905695e-5, 2.5e-5, 7.905694e-6],
    amplitude: 1.0879546075066122,
  },
  {
    name: "yarn, attention factor",
    fields: { rope_type: "yarn", factor: 2.0, original_max_position_embeddings: 2048, attention_factor: 1.25 },
    context: {},
    frequencies: [1.0, 0.3162278, 0.1, 0.02766993, 0.0075, 0.001976424, 0.0005, 0.0001581139],
    amplitude: 1.25,
  },
];

function expectClose(actual: Float32Array, expected: readonly number[]): void {
  expect(actual).toHaveLength(expected.length);
  for (const [i, value] of expected.entries()) {
    expect(Math.abs(actual[i]! / value - 1), `pair ${i}: ${actual[i]} for ${value}`).toBeLessThan(RELATIVE);
  }
}

describe("rope", () => {
  it("is a geometric series without scaling, and with a dynamic one up to the trained context", () => {
    const plain = Array.from({ length: 8 }, (_, i) => 10 ** (-i / 2));
    for (const fields of [{}, { rope_type: "default" }, { type: "dynamic", factor: 4 }]) {
      const { frequencies, amplitude } = rope(fields, CONTEXT);
      expectClose(frequencies, plain);
      expect(amplitude).toBe(1);
    }
  });

  it("divides every frequency when linear", () => {
    const expected = Array.from({ length: 8 }, (_, i) => 10 ** (-i / 2) / 4);
    expectClose(rope({ type: "linear", factor: 4 }, CONTEXT).frequencies, expected);
  });

  it.each(TRANSFORMERS)("gives what transformers gives: $name", ({ fields, context, frequencies, amplitude }) => {
    const result = rope(fields, { ...CONTEXT, ...context });
    expectClose(result.frequencies, frequencies);
    expect(result.amplitude).toBeCloseTo(amplitude, 6);
  });

  it("names the field that is missing", () => {
    expect(() => rope({ rope_type: "llama3", factor: 8 }, CONTEXT)).toThrow("lacks low_freq_factor");
    expect(() => rope({ rope_type: "su" }, CONTEXT)).toThrow('rope_type is "su"');
  });
});
