/**
 * A checkpoint that nobody here trained, against figures that an independent float32 forward gave. A wrong rotation,
 * norm, mask or head shows at once: without the rotary permutation, for one, logits are off by 17.
 */
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { exportBundle } from "../../scripts/export/bundle.ts";
import { openBundle } from "../../src/model/bundle.ts";
import { type Engine, loadEngine } from "../../src/model/engine.ts";
import { folderSource } from "../../src/model/node-source.ts";
import { nodeRuntime } from "../../src/model/runtime-node.ts";
import { createTokenizer } from "../../src/model/tokenizer.ts";
import { mean, teacherForced } from "../../scripts/eval/teacher-forced.ts";

const SHARED = join(import.meta.dirname, "../../../shared");
const CHECKPOINT = join(SHARED, "checkpoints/stories260k");
const TEXT = join(SHARED, "data/text/tinystories_first2MiB.txt");
const EXITS = [1, 2, 3, 4, 5];

/** Mean over stories of the mean NLL, in nats, per exit; and how far from it an export may be. */
const REFERENCE = [14.14, 7.094, 3.882, 2.345, 1.503];
const TOLERANCE_FLOAT32 = 0.02;
/** What 8 bits may cost (`w8a8-loss.test.ts` demands it of models/tiny). */
const TOLERANCE_W8A8 = 0.01;

/** How the reference was measured. */
const FIRST_STORY = 500;
const STORIES = 40;
const STORY_CHARACTERS = 2000;
const STORY_TOKENS = 256;
const BOS = 1;

const absent = [CHECKPOINT, TEXT].filter((path) => !existsSync(path));
if (absent.length > 0) console.log(`skipped: ${absent.join(" and ")} not there`);

describe.skipIf(absent.length > 0)("stories260k", () => {
  const folder = mkdtempSync(join(tmpdir(), "sortie-stories-"));
  const engines: Engine[] = [];
  let perExit: Record<"fp32" | "w8a8", number[]>;

  async function measure(numerics: "fp32" | "w8a8"): Promise<number[]> {
    const out = join(folder, numerics);
    await exportBundle({ checkpoint: CHECKPOINT, out, numerics, exits: EXITS });
    const source = folderSource(out);
    const engine = await loadEngine({ bundle: await openBundle(source), source, runtime: nodeRuntime({ threads: 1 }) });
    engines.push(engine);
    const read = (name: string): unknown => JSON.parse(readFileSync(join(CHECKPOINT, name), "utf8"));
    const tokenizer = createTokenizer(read("tokenizer.json"));
    const stories = readFileSync(TEXT, "utf8")
      .split("<|endoftext|>")
      .map((story) => story.trim())
      .slice(FIRST_STORY, FIRST_STORY + STORIES);
    const perStory: number[][] = [];
    for (const story of stories) {
      const ids = [BOS, ...tokenizer.encode(story.slice(0, STORY_CHARACTERS))].slice(0, STORY_TOKENS);
      perStory.push((await teacherForced(engine, ids)).map(mean));
    }
    return EXITS.map((_, exit) => mean(perStory.map((values) => values[exit]!)));
  }

  beforeAll(async () => {
    perExit = { fp32: await measure("fp32"), w8a8: await measure("w8a8") };
    for (const [numerics, values] of Object.entries(perExit)) {
      console.log(`stories260k ${numerics}, NLL at exits 1–5: ${values.map((nll) => nll.toFixed(4)).join(" ")}`);
    }
  });
  afterAll(async () => {
    for (const engine of engines) await engine.dispose();
    rmSync(folder, { recursive: true, force: true });
  });

  it.each(EXITS)("float32 gives the reference NLL at exit %i", (exit) => {
    expect(Math.abs(perExit.fp32[exit - 1]! - REFERENCE[exit - 1]!)).toBeLessThanOrEqual(TOLERANCE_FLOAT32);
  });

  it.each(EXITS)("8 bits cost next to nothing at exit %i", (exit) => {
    expect(perExit.w8a8[exit - 1]! - perExit.fp32[exit - 1]!).toBeLessThanOrEqual(TOLERANCE_W8A8);
  });
});
