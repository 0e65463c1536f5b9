/**
 * The exporter's float32 graphs against transformers' own forward of the same checkpoint. The reference logits lie in
 * fixtures/float32.json (`npm run golden:fixtures` makes them), so that this test needs no Python.
 */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { z } from "zod";
import { exportBundle } from "../../scripts/export/bundle.ts";
import { openBundle } from "../../src/model/bundle.ts";
import { type Engine, loadEngine } from "../../src/model/engine.ts";
import { folderSource } from "../../src/model/node-source.ts";
import { nodeRuntime } from "../../src/model/runtime-node.ts";

const ROOT = join(import.meta.dirname, "../..");
const CHECKPOINT = join(ROOT, "models/tiny");
const FIXTURE = join(import.meta.dirname, "fixtures/float32.json");

/** Largest difference of a logit at any exit. */
const TOLERANCE = 1e-3;

const fixtureSchema = z.object({
  fingerprint: z.string(),
  prompts: z.array(
    z.object({
      ids: z.array(z.int()),
      rows: z.array(z.object({ position: z.int(), logits: z.record(z.string(), z.string()) })),
    }),
  ),
});

const absent = [join(CHECKPOINT, "model.safetensors"), FIXTURE].filter((path) => !existsSync(path));
if (absent.length > 0) console.log(`skipped: ${absent.join(" and ")} not there`);

function floats(base64: string): Float32Array {
  return new Float32Array(Uint8Array.from(Buffer.from(base64, "base64")).buffer);
}

describe.skipIf(absent.length > 0)("float32 against PyTorch", () => {
  const out = join(ROOT, "build/golden/float32-parity");
  let engine: Engine;
  let fixture: z.infer<typeof fixtureSchema>;

  beforeAll(async () => {
    fixture = fixtureSchema.parse(JSON.parse(readFileSync(FIXTURE, "utf8")));
    await exportBundle({ checkpoint: CHECKPOINT, out, numerics: "fp32" });
    const source = folderSource(out);
    engine = await loadEngine({ bundle: await openBundle(source), source, runtime: nodeRuntime({ threads: 1 }) });
  });
  afterAll(() => engine.dispose());

  it("was made from the checkpoint that stands in models/tiny", () => {
    expect(engine.bundle.fingerprint, "run npm run golden:fixtures").toBe(fixture.fingerprint);
  });

  it("gives the same logits at every exit", async () => {
    const largest = new Map<number, number>();
    for (const { ids, rows } of fixture.prompts) {
      const sequence = engine.newSequence(ids);
      for (const exit of engine.exits) {
        await engine.advance(sequence, exit, ids.length);
        for (const { position, logits } of rows) {
          const expected = floats(logits[exit]!);
          const actual = await engine.logits(sequence, exit, [position]);
          expect(actual).toHaveLength(expected.length);
          const difference = expected.reduce((most, value, i) => Math.max(most, Math.abs(value - actual[i]!)), 0);
          largest.set(exit, Math.max(largest.get(exit) ?? 0, difference));
        }
      }
    }
    const shown = Array.from(largest, ([exit, difference]) => `exit ${exit} ${difference.toExponential(1)}`);
    console.log(`float32 against PyTorch, largest |Δlogit|: ${shown.join(", ")}`);
    for (const [exit, difference] of largest) expect(difference, `exit ${exit}`).toBeLessThanOrEqual(TOLERANCE);
  });
});
