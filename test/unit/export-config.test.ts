/** config.json: what is read from it, and what is refused by name. */
import { describe, expect, it } from "vitest";
import { parseConfig } from "../../scripts/export/config.ts";

const LLAMA = {
  model_type: "llama",
  hidden_size: 64,
  intermediate_size: 172,
  num_hidden_layers: 5,
  num_attention_heads: 8,
  num_key_value_heads: 4,
  vocab_size: 512,
  max_position_embeddings: 512,
};

describe("parseConfig", () => {
  it("derives what a LLaMA config leaves out", () => {
    expect(parseConfig(LLAMA)).toMatchObject({
      headDim: 8,
      kvHeads: 4,
      tied: false,
      exits: [5],
      contextLength: 512,
      epsilon: 1e-6,
      eosTokenIds: [],
    });
    expect(parseConfig({ ...LLAMA, num_key_value_heads: undefined }).kvHeads).toBe(8);
    expect(parseConfig({ ...LLAMA, head_dim: 32 }).headDim).toBe(32);
  });

  it("takes exits from the options before those of the config", () => {
    const config = { ...LLAMA, sorted_exits: [1, 3, 5] };
    expect(parseConfig(config).exits).toEqual([1, 3, 5]);
    expect(parseConfig(config, { exits: [2] }).exits).toEqual([2]);
    for (const exits of [[3, 1], [2, 2], [6], []]) {
      expect(() => parseConfig(config, { exits }), exits.join()).toThrow(/exits/);
    }
  });

  it("takes the ids that end an answer from generation_config.json first", () => {
    expect(parseConfig({ ...LLAMA, eos_token_id: 2 }).eosTokenIds).toEqual([2]);
    expect(parseConfig({ ...LLAMA, eos_token_id: [2, 3] }).eosTokenIds).toEqual([2, 3]);
    expect(parseConfig({ ...LLAMA, eos_token_id: 2 }, {}, [1, 2]).eosTokenIds).toEqual([1, 2]);
  });

  it("reads the base wavelength from the old and the new form", () => {
    const second = (config: object) => parseConfig({ ...LLAMA, ...config }).rope.frequencies[1];
    const expected = Math.fround(500_000 ** -0.25);
    expect(second({ rope_theta: 500_000 })).toBe(expected);
    expect(second({ rope_parameters: { rope_type: "default", rope_theta: 500_000 } })).toBe(expected);
    expect(second({ rope_theta: 500_000, rope_scaling: { type: "linear", factor: 2 } })).toBe(
      Math.fround(500_000 ** -0.25 / 2),
    );
  });

  it.each<[field: string, value: unknown, message: string]>([
    ["hidden_act", "gelu", 'config.json: hidden_act is "gelu"; only "silu" is supported'],
    ["model_type", "qwen3", 'config.json: model_type is "qwen3"; only "llama", "mistral" are supported'],
    ["sorted_exit_heads", "balcony", 'config.json: sorted_exit_heads is "balcony"; only "shared" is supported'],
    ["hidden_size", undefined, "config.json: hidden_size is missing"],
    ["num_hidden_layers", 0, "config.json: num_hidden_layers"],
    ["vocab_size", "512", "config.json: vocab_size"],
    ["num_key_value_heads", 3, "config.json: num_key_value_heads is 3"],
    ["head_dim", 7, "config.json: head_dim is 7"],
    ["num_attention_heads", 12, "config.json: head_dim is"],
    ["partial_rotary_factor", 0.5, "config.json: partial_rotary_factor is 0.5"],
    ["quantization_config", { quant_method: "gptq" }, "config.json: quantization_config is set"],
    ["sliding_window", 256, "config.json: sliding_window is 256"],
    ["rope_scaling", { rope_type: "longrope", factor: 4 }, 'config.json: rope_type is "longrope"'],
    ["rope_scaling", { rope_type: "linear" }, "config.json: the rope scaling lacks factor"],
    ["rope_parameters", { full_attention: { rope_type: "default" } }, "config.json: rope_parameters.full_attention"],
    ["rope_parameters", { partial_rotary_factor: 0.5 }, "config.json: rope_parameters.partial_rotary_factor"],
  ])("refuses %s: %j", (field, value, message) => {
    const config: Record<string, unknown> = { ...LLAMA, [field]: value };
    expect(() => parseConfig(config)).toThrow(message);
  });

  it("accepts a sliding window that no sequence can reach", () => {
    const config = { ...LLAMA, model_type: "mistral", sliding_window: 256 };
    expect(parseConfig(config, { contextLength: 256 }).contextLength).toBe(256);
    expect(parseConfig({ ...config, sliding_window: 512 }).contextLength).toBe(512);
    expect(parseConfig({ ...config, sliding_window: null }).contextLength).toBe(512);
  });

  it("says of a document that it is none", () => {
    expect(() => parseConfig([])).toThrow("config.json: (the document)");
  });
});
