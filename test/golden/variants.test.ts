/**
 * Every kind of LLaMA-shaped checkpoint against transformers: heads grouped or not, head tied or not, biases, rotary
 * scalings, shards, float16 and bfloat16. Needs the Python environment (`npm test` makes it).
 */
import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { exportBundle } from "../../scripts/export/bundle.ts";
import { openBundle } from "../../src/model/bundle.ts";
import { loadEngine } from "../../src/model/engine.ts";
import { folderSource } from "../../src/model/node-source.ts";
import { nodeRuntime } from "../../src/model/runtime-node.ts";

const PYTHON = join(import.meta.dirname, "../../gpu-backend/.venv/bin/python");
/** Largest difference of a logit, as a share of the largest logit: weights here are large, and so are logits. */
const RELATIVE = 1e-4;
/** Large random weights amplify what 8 bits round away (measured up to 0.26); a wrong graph is off by about 1. */
const RELATIVE_W8A8 = 0.5;

if (!existsSync(PYTHON)) console.log(`skipped: ${PYTHON} is not there`);

describe.skipIf(!existsSync(PYTHON))("checkpoint variants", () => {
  const folder = mkdtempSync(join(tmpdir(), "sortie-variants-"));

  beforeAll(() => {
    execFileSync(PYTHON, [join(import.meta.dirname, "variants.py"), folder], {
      stdio: ["ignore", "ignore", "inherit"],
    });
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  async function difference(name: string, numerics: "fp32" | "w8a8"): Promise<number> {
    const checkpoint = join(folder, name);
    const reference = JSON.parse(readFileSync(join(checkpoint, "reference.json"), "utf8"));
    for (const file of ["tokenizer.json", "tokenizer_config.json"]) writeFileSync(join(checkpoint, file), "{}");
    const out = join(folder, `${name}-${numerics}`);
    await exportBundle({ checkpoint, out, numerics, exits: [1, 3] });
    const source = folderSource(out);
    const engine = await loadEngine({ bundle: await openBundle(source), source, runtime: nodeRuntime({ threads: 1 }) });
    const ids = reference.ids as number[];
    const sequence = engine.newSequence(ids);
    await engine.advance(sequence, 3, ids.length);
    const actual = await engine.logits(sequence, 3, [ids.length - 1]);
    await engine.dispose();
    const expected = reference.logits as number[];
    expect(actual).toHaveLength(expected.length);
    const largest = Math.max(...expected.map(Math.abs));
    return Math.max(...expected.map((value, i) => Math.abs(value - actual[i]!))) / largest;
  }

  it("load and give transformers' logits in float32, and stay near them in 8 bits", async () => {
    const names = readdirSync(folder);
    expect(names.length).toBeGreaterThan(10);
    expect(readdirSync(join(folder, "sharded")).filter((file) => file.endsWith(".safetensors")).length).toBeGreaterThan(
      2,
    );
    for (const name of names) {
      const [exact, eight] = [await difference(name, "fp32"), await difference(name, "w8a8")];
      console.log(`${name}: float32 ${exact.toExponential(1)}, w8a8 ${eight.toExponential(1)} of the largest logit`);
      expect.soft(exact, name).toBeLessThan(RELATIVE);
      expect.soft(eight, name).toBeLessThan(RELATIVE_W8A8);
    }
  });
});
