/** Whole exports of small random checkpoints of every shape that differs inside the graphs. */
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { bareProductsGraph } from "../../scripts/bench/bare-products.ts";
import { currentBundle } from "../../scripts/build/current.ts";
import { bundleFiles, exportBundle } from "../../scripts/export/bundle.ts";
import { hasChatTemplate } from "../../scripts/export/copied.ts";
import { WeightFiles } from "../../scripts/export/onnx/weights.ts";
import { type RandomShape, writeRandomCheckpoint } from "../../scripts/export/random-checkpoint.ts";
import { bundleSchema } from "../../src/model/bundle.ts";
import { SMALL_SHAPE } from "./small-shape.ts";

const PYTHON = join(import.meta.dirname, "../../gpu-backend/.venv/bin/python");
/** Checks every graph of the folders given, external data included. */
const CHECKER = `
import pathlib, sys, onnx
for folder in sys.argv[1:]:
    for path in sorted(pathlib.Path(folder).glob("*.onnx")):
        onnx.checker.check_model(str(path), full_check=True)
        print(path.name)
`;

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "sortie-export-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

function checkpoint(shape: Partial<RandomShape> = {}): string {
  const path = join(folder, `checkpoint-${readdirSync(folder).length}`);
  writeRandomCheckpoint(path, { ...SMALL_SHAPE, ...shape });
  return path;
}

describe("exportBundle", () => {
  it("lists every file with its size and digest, and nothing else lies in the folder", async () => {
    const out = join(folder, "out");
    const steps: string[] = [];
    const onProgress = (done: number, total: number) => steps.push(`${done}/${total}`);
    const bundle = await exportBundle({ checkpoint: checkpoint(), out, numerics: "w8a8", exits: [1, 3], onProgress });
    expect(bundleSchema.parse(JSON.parse(readFileSync(join(out, "bundle.json"), "utf8")))).toEqual(bundle);
    expect(bundle).toMatchObject({ numerics: "w8a8", exits: [1, 3], eos_token_ids: [0] });
    expect(bundle.segments.map(({ first_layer, last_layer }) => [first_layer, last_layer])).toEqual([
      [1, 1],
      [2, 3],
    ]);
    for (const { path, bytes, sha256 } of bundleFiles(bundle)) {
      const content = readFileSync(join(out, path));
      expect(content.length, path).toBe(bytes);
      expect(createHash("sha256").update(content).digest("hex"), path).toBe(sha256);
    }
    const listed = bundleFiles(bundle).map(({ path }) => path);
    expect(new Set(readdirSync(out))).toEqual(new Set([...listed, "bundle.json"]));
    expect(steps).toEqual(["0/4", "1/4", "2/4", "3/4", "4/4"]);
  });

  it("replaces an older bundle with more files", async () => {
    const [from, out] = [checkpoint(), join(folder, "out")];
    await exportBundle({ checkpoint: from, out, numerics: "fp32", exits: [1, 2, 3] });
    const bundle = await exportBundle({ checkpoint: from, out, numerics: "w8a8" });
    const listed = bundleFiles(bundle).map(({ path }) => path);
    expect(new Set(readdirSync(out))).toEqual(new Set([...listed, "bundle.json"]));
  });

  it("gives the same bytes every time", async () => {
    const from = checkpoint();
    const first = await exportBundle({ checkpoint: from, out: join(folder, "a"), numerics: "w8a8" });
    const second = await exportBundle({ checkpoint: from, out: join(folder, "b"), numerics: "w8a8" });
    expect(second).toEqual(first);
  });

  it("takes router.json along only when it was made for this checkpoint", async () => {
    const [from, out] = [checkpoint(), join(folder, "out")];
    writeFileSync(join(from, "router.json"), JSON.stringify({ fingerprint: "0".repeat(16) }));
    const without = await exportBundle({ checkpoint: from, out, numerics: "w8a8" });
    expect(without.router).toBeUndefined();
    writeFileSync(join(from, "router.json"), JSON.stringify({ fingerprint: without.fingerprint }));
    const bundle = await exportBundle({ checkpoint: from, out, numerics: "w8a8" });
    expect(bundle.router?.path).toBe("router.json");
  });

  it("puts a chat template of its own file into the tokenizer's configuration", async () => {
    const [from, out] = [checkpoint(), join(folder, "out")];
    const config = JSON.parse(readFileSync(join(from, "tokenizer_config.json"), "utf8"));
    writeFileSync(join(from, "chat_template.jinja"), "{{ messages | length }}");
    await exportBundle({ checkpoint: from, out, numerics: "w8a8" });
    const written = JSON.parse(readFileSync(join(out, "tokenizer_config.json"), "utf8"));
    expect(written).toEqual({ ...config, chat_template: "{{ messages | length }}" });
  });

  it("is kept until its checkpoint changes, in whatever file", async () => {
    const [from, out] = [checkpoint(), join(folder, "out")];
    expect(hasChatTemplate(from)).toBe(false);
    expect(await currentBundle(from, out)).toBeNull();
    writeFileSync(join(from, "router.json"), JSON.stringify({ fingerprint: "0".repeat(16) })); // of another checkpoint
    const current = async (options: object = {}) => {
      const made = await exportBundle({ checkpoint: from, out, numerics: "w8a8", ...options });
      expect(await currentBundle(from, out)).toEqual(made);
      return made;
    };
    const { fingerprint } = await current({ name: "other", exits: [1, 3] });
    const changes: [file: string, text: string][] = [
      ["chat_template.jinja", "{{ messages | length }}"],
      ["router.json", JSON.stringify({ fingerprint })],
      ["tokenizer.json", "{}"],
      [
        "config.json",
        JSON.stringify({ ...JSON.parse(readFileSync(join(from, "config.json"), "utf8")), rope_theta: 5e4 }),
      ],
    ];
    for (const [file, text] of changes) {
      writeFileSync(join(from, file), text);
      expect(await currentBundle(from, out), file).toBeNull();
      await current();
    }
    expect(hasChatTemplate(from)).toBe(true);
    rmSync(join(out, "rim.0.bin"));
    expect(await currentBundle(from, out)).toBeNull();
  });

  it("refuses a checkpoint whose tensors say more than its config", async () => {
    const from = checkpoint();
    const path = join(from, "config.json");
    const config = JSON.parse(readFileSync(path, "utf8"));
    const attempt = (changed: object) => {
      writeFileSync(path, JSON.stringify({ ...config, ...changed }));
      return exportBundle({ checkpoint: from, out: join(folder, "out"), numerics: "w8a8" });
    };
    await expect(attempt({ num_hidden_layers: 2 })).rejects.toThrow("tensor model.layers.2.");
    await expect(attempt({ attention_bias: true })).rejects.toThrow("no tensor model.layers.0.self_attn.q_proj.bias");
    await expect(attempt({ tie_word_embeddings: false })).rejects.toThrow("no tensor lm_head.weight");
    await expect(attempt({ intermediate_size: 64 })).rejects.toThrow("config.json asks for [64,32]");
    expect(existsSync(join(folder, "out/bundle.json"))).toBe(false);
  });
});

describe("onnx.checker", () => {
  it.skipIf(!existsSync(PYTHON))("passes every kind of file", { timeout: 120_000 }, async () => {
    const folders: string[] = [];
    const shapes = [
      {},
      { tie_word_embeddings: false, num_key_value_heads: 4 },
      { vocab_size: 9000, hidden_size: 40, head_dim: 10 },
    ];
    for (const shape of shapes) {
      const from = checkpoint(shape);
      for (const numerics of ["w8a8", "fp32"] as const) {
        const out = join(folder, `out-${folders.length}`);
        await exportBundle({ checkpoint: from, out, numerics, exits: [1, 3] });
        folders.push(out);
      }
    }
    const weights = new WeightFiles(folder, "bare");
    const matrix = {
      inputs: 32,
      outputs: 9000,
      rows: (from: number, to: number) => new Float32Array((to - from) * 32),
    };
    writeFileSync(join(folder, "bare.onnx"), bareProductsGraph([matrix, matrix], weights));
    weights.finish();
    const checked = execFileSync(PYTHON, ["-c", CHECKER, folder, ...folders], { encoding: "utf8" })
      .trim()
      .split("\n");
    expect(checked).toHaveLength(1 + 4 * folders.length);
  });
  if (!existsSync(PYTHON)) console.log(`skipped onnx.checker: ${PYTHON} is not there`);
});
