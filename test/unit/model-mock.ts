/**
 * A model small enough to compute by hand, behind the engine's `Runtime`. Two kinds of arithmetic:
 * `exact` is a causal function of the tokens, `rounding` adds what real kernels do: a residue of the chunk's shape.
 */
import { createHash } from "node:crypto";
import type { Bundle, BundleFile, BundleSource } from "../../src/model/bundle.ts";
import type { GraphData, GraphSession, GraphTensor, GraphTensors, Runtime } from "../../src/model/runtime.ts";

export const WIDTH = 4;
export const KV_WIDTH = 2;
export const VOCABULARY = 17;

const text = (value: string) => new TextEncoder().encode(value);

export interface MockOptions {
  readonly exits?: readonly number[];
  readonly contextLength?: number;
  /** How much a position's state depends on the number of tokens in its chunk. */
  readonly rounding?: number;
}

/** What the mock saw: one entry a run of a segment. */
export interface Run {
  readonly segment: number;
  readonly start: number;
  readonly tokens: number;
}

export interface MockModel {
  readonly bundle: Bundle;
  readonly source: BundleSource;
  readonly runtime: Runtime;
  readonly runs: Run[];
  /** Sessions created and not disposed. */
  open: number;
  /** Files by path; tests break them. */
  readonly files: Map<string, Uint8Array>;
}

export function mockModel(options: MockOptions = {}): MockModel {
  const exits = options.exits ?? [1, 3, 4];
  const files = new Map<string, Uint8Array>();
  const file = (path: string, content: string): BundleFile => {
    const bytes = text(content);
    files.set(path, bytes);
    return { path, bytes: bytes.length, sha256: createHash("sha256").update(bytes).digest("hex") };
  };
  const graph = (name: string) => ({ graph: file(`${name}.onnx`, name), weights: [file(`${name}.bin`, `of ${name}`)] });
  const bundle: Bundle = {
    format: "sortie-bundle/2",
    name: "mock",
    fingerprint: "0123456789abcdef",
    numerics: "fp32",
    shape: {
      layers: exits.at(-1) ?? 0,
      hidden_size: WIDTH,
      heads: 2,
      kv_heads: 1,
      head_dim: KV_WIDTH,
      vocab_size: VOCABULARY,
      context_length: options.contextLength ?? 200,
    },
    exits: [...exits],
    eos_token_ids: [0],
    rim: graph("rim"),
    whole: file("whole.onnx", "whole"),
    segments: exits.map((last, at) => ({
      ...graph(`segment-${at}`),
      first_layer: (exits[at - 1] ?? 0) + 1,
      last_layer: last,
    })),
    tokenizer: { tokenizer: file("tokenizer.json", "{}"), config: file("tokenizer_config.json", "{}") },
  };
  files.set("bundle.json", text(JSON.stringify(bundle)));
  const model: MockModel = {
    bundle,
    files,
    runs: [],
    open: 0,
    source: {
      read: (path) => {
        const bytes = files.get(path);
        return bytes === undefined ? Promise.reject(new Error("no such file")) : Promise.resolve(bytes);
      },
    },
    runtime: {
      name: "mock",
      warmUpMs: 0,
      holdsWhole: false,
      create: (bytes) => {
        const name = new TextDecoder().decode(bytes);
        model.open++;
        const close = () => Promise.resolve(void model.open--);
        const segment = Number(name.split("-")[1] ?? -1);
        return Promise.resolve(segment < 0 ? rimSession(close) : segmentSession(model, segment, options, close));
      },
    },
  };
  return model;
}

function floats(tensors: GraphTensors, name: string): Float32Array {
  const data = tensors[name]?.data;
  if (!(data instanceof Float32Array)) throw new TypeError(`no input ${name}`);
  return data;
}

function integers(tensors: GraphTensors, name: string): number[] {
  const data = tensors[name]?.data;
  if (!(data instanceof BigInt64Array)) throw new TypeError(`no input ${name}`);
  return Array.from(data, Number);
}

const tensor = (data: GraphData, dims: readonly number[]): GraphTensor => ({ data, dims });

/** Embedding: sin of id and column. Head: a fixed mix of the columns. */
function rimSession(dispose: () => Promise<void>): GraphSession {
  return {
    inputNames: ["input_ids", "hidden_state"],
    outputNames: ["embedding", "logits"],
    dispose,
    tensor,
    run(inputs) {
      const ids = integers(inputs, "input_ids");
      const hidden = floats(inputs, "hidden_state");
      const rows = hidden.length / WIDTH;
      const embedding = Float32Array.from({ length: ids.length * WIDTH }, (_, at) =>
        Math.sin((ids[Math.floor(at / WIDTH)] ?? 0) * 1.3 + (at % WIDTH)),
      );
      const logits = Float32Array.from({ length: rows * VOCABULARY }, (_, at) => {
        const row = Math.floor(at / VOCABULARY) * WIDTH;
        let sum = 0;
        for (let column = 0; column < WIDTH; column++) {
          sum += (hidden[row + column] ?? 0) * Math.cos((at % VOCABULARY) * (column + 1));
        }
        return sum;
      });
      return Promise.resolve({
        embedding: tensor(embedding, [1, ids.length, WIDTH]),
        logits: tensor(logits, [1, rows, VOCABULARY]),
      });
    },
  };
}

/** Each layer: keys and values are half the row, the row gains the mean of all values at its position and before. */
function segmentSession(
  model: MockModel,
  segment: number,
  options: MockOptions,
  dispose: () => Promise<void>,
): GraphSession {
  const layers = model.bundle.segments[segment];
  if (layers === undefined) throw new RangeError(`segment ${segment}`);
  return {
    inputNames: [],
    outputNames: [],
    dispose,
    tensor,
    async run(inputs) {
      await Promise.resolve();
      const positions = integers(inputs, "position_ids");
      const [start = 0, tokens] = [positions[0], positions.length];
      model.runs.push({ segment, start, tokens });
      const hidden = floats(inputs, "hidden_state").slice();
      const layersKeys: Float32Array[] = [];
      const layersValues: Float32Array[] = [];
      for (let layer = layers.first_layer - 1; layer < layers.last_layer; layer++) {
        const past = floats(inputs, `past_v.${layer}`);
        if (past.length !== start * KV_WIDTH) throw new Error(`past of ${past.length} at position ${start}`);
        if (floats(inputs, `past_k.${layer}`).some((key, at) => key !== -(past[at] ?? 0)))
          throw new Error("torn cache");
        const values = new Float32Array(tokens * KV_WIDTH);
        for (let row = 0; row < tokens; row++) {
          for (let at = 0; at < KV_WIDTH; at++) values[row * KV_WIDTH + at] = (hidden[row * WIDTH + at] ?? 0) / 2;
        }
        for (let row = 0; row < tokens; row++) {
          const sums = [0, 0];
          for (let at = 0; at < past.length; at++) sums[at % KV_WIDTH] = (sums[at % KV_WIDTH] ?? 0) + (past[at] ?? 0);
          for (let at = 0; at < (row + 1) * KV_WIDTH; at++) {
            sums[at % KV_WIDTH] = (sums[at % KV_WIDTH] ?? 0) + (values[at] ?? 0);
          }
          for (let column = 0; column < WIDTH; column++) {
            const at = row * WIDTH + column;
            const mean = (sums[column % KV_WIDTH] ?? 0) / (start + row + 1);
            hidden[at] = Math.sin((hidden[at] ?? 0) * 3 + mean * 5 + layer) + tokens * (options.rounding ?? 0);
          }
        }
        layersKeys.push(values.map((value) => -value));
        layersValues.push(values);
      }
      const state = [...layersKeys, ...layersValues];
      return {
        hidden_state_out: tensor(hidden, [1, tokens, WIDTH]),
        new_state: tensor(Float32Array.from(state.flatMap((rows) => [...rows])), [state.length, tokens, KV_WIDTH]),
      };
    },
  };
}
