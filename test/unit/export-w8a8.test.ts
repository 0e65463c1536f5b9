/** 8-bit products: exact integers on the machine at hand, scales per row and per column, pieces of any width. */
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { InferenceSession as Sessions, TensorConstructor } from "onnxruntime-common";
import * as node from "onnxruntime-node";
import fc from "fast-check";
import { afterAll, describe, expect, it } from "vitest";
import type { Matrix } from "../../scripts/export/matrix.ts";
import type { Numerics } from "../../scripts/export/numerics.ts";
import { GraphBuilder } from "../../scripts/export/onnx/graph.ts";
import { WeightFiles } from "../../scripts/export/onnx/weights.ts";
import { piecesOf, quantise, w8a8, ZERO_POINT } from "../../scripts/export/w8a8.ts";
import { blocksOf, w8a8Whole } from "../../scripts/export/w8a8-whole.ts";

const folder = mkdtempSync(join(tmpdir(), "sortie-w8a8-"));
afterAll(() => rmSync(folder, { recursive: true }));

interface Ort {
  readonly InferenceSession: typeof node.InferenceSession;
  readonly Tensor: TensorConstructor;
}
/** The build for Node of onnxruntime-web: the same WebAssembly as in workerd. */
const web = createRequire(import.meta.url)("onnxruntime-web") as Ort & { env: { wasm: { numThreads: number } } };
web.env.wasm.numThreads = 1;
const RUNTIMES: readonly [name: string, ort: Ort, provider: string][] = [
  ["onnxruntime-node", node, "cpu"],
  ["onnxruntime-web", web, "wasm"],
];

function matrixOf(inputs: number, outputs: number, value: (n: number, k: number) => number): Matrix {
  const rows = (from: number, to: number) =>
    Float32Array.from({ length: (to - from) * inputs }, (_, i) => value(from + Math.floor(i / inputs), i % inputs));
  return { inputs, outputs, rows };
}

/** Numbers of −1…1 without a pattern: the fraction of a large sine. */
const noise = (i: number) => (Math.sin(i * 12.9898 + 4.1) * 43758.5453) % 1;

/** Two rows [2, K] of small values, each with one value twenty times as large. */
const outliers = (k: number) =>
  Float32Array.from({ length: 2 * k }, (_, i) => (i % k === 5 + Math.floor(i / k) ? 20 : noise(i)));

let graphs = 0;
async function session(ort: Ort, provider: string, build: (graph: GraphBuilder) => void): Promise<Sessions> {
  const files = new WeightFiles(folder, `graph-${graphs++}`);
  const graph = new GraphBuilder("test", files);
  build(graph);
  const bytes = graph.finish();
  const externalData = files
    .finish()
    .map(({ path }) => ({ path, data: new Uint8Array(readFileSync(join(folder, path))) }));
  return ort.InferenceSession.create(bytes, { executionProviders: [provider], externalData, logSeverityLevel: 3 });
}

describe.each(RUNTIMES)("in %s", (_name, ort, provider) => {
  it("multiplies the largest integers exactly, in rows long enough to overflow 16 bits", async () => {
    const [k, n] = [4096, 40]; // 4096 · 255 · 255 is far from an int32's end
    const run = async (left: number, right: number, zero: number) => {
      const s = await session(ort, provider, (graph) => {
        const values = graph.input("values", "uint8", ["T", k]);
        const weights = graph.weight("weights", "uint8", [k, n], () => new Uint8Array(k * n).fill(right));
        const zeroPoint = graph.uint8(zero);
        graph.op("MatMulInteger", [values, weights, zeroPoint, zeroPoint], { outputs: ["products"] });
        graph.output("products", "int32", ["T", n]);
      });
      const results: Set<unknown>[] = [];
      for (const rows of [1, 3, 32]) {
        const values = new ort.Tensor("uint8", new Uint8Array(rows * k).fill(left), [rows, k]);
        results.push(new Set((await s.run({ values }))["products"]!.data as Int32Array));
      }
      return results;
    };
    const only = (value: number) => [new Set([value]), new Set([value]), new Set([value])];
    expect(await run(255, 255, 0)).toEqual(only(255 * 255 * k));
    expect(await run(255, 255, ZERO_POINT)).toEqual(only(127 * 127 * k));
    expect(await run(255, 0, ZERO_POINT)).toEqual(only(127 * -128 * k));
    expect(await run(0, 0, ZERO_POINT)).toEqual(only(128 * 128 * k));
  });

  it("scales each row by its own magnitude: neighbours and a row of zeros change nothing", async () => {
    const [k, n] = [96, 70];
    const matrix = matrixOf(k, n, (row, column) => Math.sin(row * 7 + column) * (row + 1));
    const s = await session(ort, provider, (graph) => {
      const values = graph.input("values", "float32", ["T", k]);
      const product = w8a8.product(graph, w8a8.operand(graph, values), w8a8.store(graph, "w", matrix));
      graph.op("Identity", [product], { outputs: ["y"] });
      graph.output("y", "float32", ["T", n]);
    });
    const run = async (...rows: Float32Array[]) => {
      const values = new ort.Tensor("float32", Float32Array.from(rows.flatMap((row) => [...row])), [rows.length, k]);
      return (await s.run({ values }))["y"]!.data as Float32Array;
    };
    const small = Float32Array.from({ length: k }, (_, i) => Math.cos(i) * 1e-3);
    const large = Float32Array.from({ length: k }, (_, i) => Math.cos(i * 3) * 1e3);
    const alone = await run(small);
    const together = await run(large, small, new Float32Array(k));
    expect([...together.subarray(n, 2 * n)]).toEqual([...alone]);
    expect(new Set(together.subarray(2 * n))).toEqual(new Set([0]));

    const weights = matrix.rows(0, n);
    for (let column = 0; column < n; column++) {
      let exact = 0;
      let bound = 0; // half a step of every activation and of every weight
      for (let i = 0; i < k; i++) {
        exact += large[i]! * weights[column * k + i]!;
        bound += (Math.abs(large[i]!) * (column + 1) + Math.abs(weights[column * k + i]!) * 1e3 + 10) / 250;
      }
      expect(Math.abs(together[column]! - exact)).toBeLessThan(bound);
    }
  });

  it("gives a fine operand two digits, each row by itself", async () => {
    const [k, n] = [96, 24];
    // Whole numbers up to 127 are weights without rounding: what is left is the activations'.
    const matrix = matrixOf(k, n, (row, column) => (column === 0 ? 127 : Math.round(100 * noise(row * k + column))));
    const values = Float32Array.from({ length: 3 * k }, (_, i) => (i < 2 * k ? noise(i + 7) : 0));
    const run = async (rows: number, steps: number | "own" | "coarse") => {
      const s = await session(ort, provider, (graph) => {
        const input = graph.input("values", "float32", ["B", "T", k]);
        const operand =
          steps === "coarse"
            ? w8a8.operand(graph, input)
            : w8a8.fineOperand(graph, input, steps === "own" ? undefined : steps);
        const product = w8a8.product(graph, operand, w8a8.store(graph, "w", matrix));
        graph.op("Identity", [product], { outputs: ["y"] });
        graph.output("y", "float32", ["B", "T", n]);
      });
      const tensor = new ort.Tensor("float32", values.slice(0, rows * k), [1, rows, k]);
      return (await s.run({ values: tensor }))["y"]!.data as Float32Array;
    };
    const weights = matrix.rows(0, n);
    const error = (y: Float32Array) =>
      Math.hypot(
        ...y.map((value, i) => {
          const [t, row] = [Math.floor(i / n), i % n];
          return weights
            .subarray(row * k, (row + 1) * k)
            .reduce((sum, weight, at) => sum - weight * values[t * k + at]!, value);
        }),
      );
    // Values reach up to 1: a limit eight times as large costs three bits of the second digit's eight.
    const coarse = error(await run(3, "coarse"));
    for (const [limit, times] of [
      ["own", 50],
      [1, 50],
      [8, 8],
    ] as const) {
      const fine = await run(3, limit);
      expect(error(fine) * times).toBeLessThan(coarse);
      expect(new Set(fine.subarray(2 * n))).toEqual(new Set([0])); // a row of zeros
      expect([...(await run(1, limit))]).toEqual([...fine.subarray(0, n)]);
    }
  });

  it("spreads outliers, so that the other channels keep their steps", async () => {
    const [k, n] = [172, 24]; // 172 is divided by 4 at most
    for (const inputs of [k, 192]) {
      const matrix = matrixOf(inputs, n, (row, column) => noise(1000 + row * inputs + column));
      const rows = outliers(inputs);
      const run = async (spread: boolean) => {
        const s = await session(ort, provider, (graph) => {
          const values = graph.input("values", "float32", ["B", "T", inputs]);
          const ready = spread ? w8a8.spread(graph, values, matrix) : { values, matrix };
          const stored = w8a8.store(graph, "w", ready.matrix);
          graph.op("Identity", [w8a8.product(graph, w8a8.operand(graph, ready.values), stored)], { outputs: ["y"] });
          graph.output("y", "float32", ["B", "T", n]);
        });
        const values = new ort.Tensor("float32", rows, [1, 2, inputs]);
        return (await s.run({ values }))["y"]!.data as Float32Array;
      };
      const weights = matrix.rows(0, n);
      const exact = (t: number, row: number) =>
        weights
          .subarray(row * inputs, (row + 1) * inputs)
          .reduce((sum, weight, i) => sum + weight * rows[t * inputs + i]!, 0);
      const error = (y: Float32Array) => Math.hypot(...y.map((value, i) => value - exact(Math.floor(i / n), i % n)));
      const [plain, spread] = [error(await run(false)), error(await run(true))];
      expect(spread).toBeLessThan(plain * (inputs === k ? 0.9 : 0.5));
    }
  });

  it.each([
    ["columns", w8a8],
    ["rows", w8a8Whole],
  ] as const)("looks ids up in a matrix of several pieces, as %s", async (_, numerics) => {
    const [k, n] = [4, 10_000];
    const matrix = matrixOf(k, n, (row, column) => (row + 1) * (column === 1 ? -1 : 0.5));
    const s = await session(ort, provider, (graph) => {
      const ids = graph.input("ids", "int64", ["B", "T"]);
      graph.op("Identity", [numerics.vocabulary(graph, "w", matrix).embed(ids)], { outputs: ["y"] });
      graph.output("y", "float32", ["B", "T", k]);
    });
    expect(piecesOf(matrix).length).toBeGreaterThan(2);
    const edges = piecesOf(matrix).flatMap(([from, to]) => [from, to - 1]);
    const ids = new ort.Tensor("int64", BigInt64Array.from(edges, BigInt), [1, edges.length]);
    const rows = (await s.run({ ids }))["y"]!.data as Float32Array;
    for (const [i, id] of edges.entries()) {
      for (const [column, factor] of [0.5, -1, 0.5, 0.5].entries()) {
        expect(rows[i * k + column]! / (id + 1)).toBeCloseTo(factor, 2);
      }
    }
    for (const [i, id] of edges.entries()) {
      const alone = await s.run({ ids: new ort.Tensor("int64", BigInt64Array.of(BigInt(id)), [1, 1]) });
      expect([...(alone["y"]!.data as Float32Array)]).toEqual([...rows.subarray(i * k, (i + 1) * k)]);
    }
    const none = await s.run({ ids: new ort.Tensor("int64", new BigInt64Array(0), [1, 0]) });
    expect(none["y"]!.dims).toEqual([1, 0, k]);
  });
});

/** Below the smallest normal float32, scales have no digits left. */
const TINY = 2 ** -126;

describe("a vocabulary in rows", () => {
  /** Scores [rows, V] of both numerics in the native runtime. */
  async function scores(matrix: Matrix, values: Float32Array): Promise<[Float32Array, Float32Array]> {
    const { inputs: k, outputs } = matrix;
    const run = async (numerics: Numerics) => {
      const s = await session(node, "cpu", (graph) => {
        const rows = graph.input("values", "float32", ["B", "N", k]);
        graph.op("Identity", [numerics.vocabulary(graph, "w", matrix).score(rows)], { outputs: ["y"] });
        graph.output("y", "float32", ["B", "N", outputs]);
      });
      const tensor = new node.Tensor("float32", values, [1, values.length / k, k]);
      return (await s.run({ values: tensor }))["y"]!.data as Float32Array;
    };
    return [await run(w8a8), await run(w8a8Whole)];
  }

  it.each([64, 127, 128, 192, 576, 2048])("scores %i inputs as columns do, every row in its own steps", async (k) => {
    const n = 2048;
    const matrix = matrixOf(k, n, (row, column) => noise(row * k + column) * (1 + (row % 7)));
    const values = Float32Array.from([...outliers(k), ...new Float32Array(k), ...outliers(k).map((x) => x / 1000)]);
    const [columns, rows] = await scores(matrix, values);
    expect(piecesOf(matrix).length).toBeGreaterThan(1);
    const size = Math.hypot(...columns.subarray(0, n)) / Math.sqrt(n);
    for (const [i, score] of rows.entries()) {
      const unit = i >= 3 * n ? size / 1000 : size; // a step of one activation moves a score by 0.01 of it
      expect(Math.abs(score - columns[i]!)).toBeLessThan(1e-4 * unit);
    }
    expect(new Set(rows.subarray(2 * n, 3 * n))).toEqual(new Set([0]));
  });

  it("multiplies the largest integers without saturating", async () => {
    const [k, n] = [4096, 40];
    for (const sign of [1, -1]) {
      const matrix = matrixOf(k, n, () => sign);
      const [, rows] = await scores(matrix, new Float32Array(3 * k).fill(1));
      for (const score of rows) expect(score / (sign * k)).toBeCloseTo(1, 5);
    }
  });

  it("finds every value its place, and ends every block with the row's magnitude", () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 5000 }), (inputs) => {
        const { blocks, sources, places } = blocksOf(inputs);
        expect(places.map((place) => sources[place])).toEqual(Array.from({ length: inputs }, (_, value) => value));
        expect(new Set(places).size).toBe(inputs);
        expect(sources.filter((source) => source < inputs)).toHaveLength(inputs);
        for (let block = 1; block <= blocks; block++) expect(sources[block * 128 - 1]).toBe(inputs);
      }),
    );
  });
});

describe("quantise", () => {
  it("keeps every weight within half a step, symmetric around the zero point", () => {
    const values = fc.array(fc.float({ noNaN: true, min: -1000, max: 1000 }), { minLength: 6, maxLength: 6 });
    fc.assert(
      fc.property(values, (weights) => {
        const matrix = matrixOf(3, 2, (n, k) => weights[n * 3 + k]!);
        const { weights: steps, scales } = quantise(matrix, 0, 2);
        for (let n = 0; n < 2; n++) {
          for (let k = 0; k < 3; k++) {
            const step = steps[k * 2 + n]! - ZERO_POINT;
            expect(Math.abs(step)).toBeLessThanOrEqual(127);
            const error = Math.abs(step * scales[n]! - weights[n * 3 + k]!);
            expect(error).toBeLessThanOrEqual(scales[n]! * 0.501 + TINY);
          }
        }
      }),
    );
  });

  it("refuses weights that are no numbers", () => {
    expect(() =>
      quantise(
        matrixOf(2, 1, () => Number.NaN),
        0,
        1,
      ),
    ).toThrow("not finite");
  });
});

describe("piecesOf", () => {
  it("covers every column once, in pieces that fit a file and whose rows do not collide in the cache", () => {
    const sizes = fc.record({
      inputs: fc.integer({ min: 1, max: 16_384 }),
      outputs: fc.integer({ min: 1, max: 200_000 }),
    });
    fc.assert(
      fc.property(sizes, ({ inputs, outputs }) => {
        const pieces = piecesOf(matrixOf(inputs, outputs, () => 0));
        let next = 0;
        for (const [i, [from, to]] of pieces.entries()) {
          expect(from).toBe(next);
          expect(to).toBeGreaterThan(from);
          expect((to - from) * inputs).toBeLessThanOrEqual(25_000_000);
          if (i < pieces.length - 1) expect((to - from) % 2048).not.toBe(0);
          next = to;
        }
        expect(next).toBe(outputs);
      }),
    );
  });
});
