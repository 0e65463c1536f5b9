/**
 * The network in pieces and whole, of one small random checkpoint, in Node's runtime. Keys, values and hidden states are the
 * same bit for bit, logits in float32, too; in W8A8 the whole network adds a score's products up in another order.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { exportBundle } from "../../scripts/export/bundle.ts";
import { writeRandomCheckpoint } from "../../scripts/export/random-checkpoint.ts";
import { openBundle } from "../../src/model/bundle.ts";
import { type Engine, loadEngine } from "../../src/model/engine.ts";
import { folderSource } from "../../src/model/node-source.ts";
import { nodeRuntime } from "../../src/model/runtime-node.ts";
import type { Runtime } from "../../src/model/runtime.ts";
import { Sequence } from "../../src/model/sequence.ts";
import { SMALL_SHAPE } from "./small-shape.ts";

const PROMPT = Array.from({ length: 45 }, (_, at) => (at * 7) % 300);
const ANSWER = [5, 250, 17, 99];

/** Largest difference of a logit in W8A8; the logits' root mean square is some 0.1. */
const SUMMED_OTHERWISE = 5e-6;

describe.each(["fp32", "w8a8"] as const)("a network in one session, %s", (numerics) => {
  let folder: string;
  let pieces: Engine;
  let whole: Engine;
  /** Sessions that were created by each engine. */
  const sessions = { pieces: 0, whole: 0 };

  async function engineOf(kind: "pieces" | "whole", exits?: number[]): Promise<Engine> {
    const source = folderSource(join(folder, "bundle"));
    const runtime = nodeRuntime({ threads: 1 });
    const counted: Runtime = {
      ...runtime,
      holdsWhole: kind === "whole",
      create: (...files) => {
        sessions[kind]++;
        return runtime.create(...files);
      },
    };
    return loadEngine({ bundle: await openBundle(source), source, runtime: counted, ...(exits && { exits }) });
  }

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), "sortie-network-"));
    const checkpoint = join(folder, "checkpoint");
    writeRandomCheckpoint(checkpoint, { ...SMALL_SHAPE, num_hidden_layers: 4, tie_word_embeddings: false });
    await exportBundle({ checkpoint, out: join(folder, "bundle"), numerics, exits: [1, 2, 4] });
    [pieces, whole] = [await engineOf("pieces"), await engineOf("whole")];
  });

  afterAll(async () => {
    await pieces.dispose();
    await whole.dispose();
    rmSync(folder, { recursive: true });
  });

  /** Logits after the prompt and each token of the answer; `exits` in turn. */
  async function answer(engine: Engine, sequence: Sequence, exits: readonly number[]): Promise<Float32Array[]> {
    const logits = [await engine.next(sequence, exits[0]!)];
    for (const [at, id] of ANSWER.entries()) {
      sequence.append([id]);
      logits.push(await engine.next(sequence, exits[(at + 1) % exits.length]!));
    }
    return logits;
  }

  function expectSame(actual: readonly Float32Array[], expected: readonly Float32Array[]): void {
    if (numerics === "fp32") {
      expect(actual).toEqual(expected);
      return;
    }
    expect(actual.map(({ length }) => length)).toEqual(expected.map(({ length }) => length));
    for (const [at, logits] of actual.entries()) {
      const differences = logits.map((logit, i) => Math.abs(logit - expected[at]![i]!));
      expect(Math.max(...differences)).toBeLessThan(SUMMED_OTHERWISE);
    }
  }

  it("is one session where another has one a graph", () => {
    expect(sessions).toEqual({ pieces: 4, whole: 1 });
  });

  it.each([[[1]], [[2]], [[4]], [[1, 4]], [[1, 2, 1, 4]], [[4, 2, 1]]])(
    "answers the same at exits %j",
    async (exits) => {
      const [cut, joined] = [pieces.newSequence(PROMPT), whole.newSequence(PROMPT)];
      expectSame(await answer(whole, joined, exits), await answer(pieces, cut, exits));
      const [deepest] = exits.toSorted((a, b) => b - a);
      await pieces.advance(cut, deepest!, cut.length);
      await whole.advance(joined, deepest!, joined.length);
      expect(joined.export(deepest!)).toEqual(cut.export(deepest!));
    },
  );

  it("goes on from what the other handed over", async () => {
    const sender = pieces.newSequence(PROMPT);
    await pieces.advance(sender, 2, PROMPT.length);
    const handoff = sender.export(2);
    const resumed = await answer(whole, Sequence.import(whole.bundle, handoff), [4]);
    expect(resumed).toEqual(await answer(whole, whole.newSequence(PROMPT), [4]));
    expectSame(await answer(pieces, Sequence.import(pieces.bundle, handoff), [4]), resumed);
  });

  it("gives logits of any positions", async () => {
    const [cut, joined] = [pieces.newSequence(PROMPT), whole.newSequence(PROMPT)];
    await pieces.advance(cut, 2, PROMPT.length);
    await whole.advance(joined, 2, PROMPT.length);
    for (const positions of [[0], [44, 3, 17]]) {
      expectSame([await whole.logits(joined, 2, positions)], [await pieces.logits(cut, 2, positions)]);
    }
    expectSame([await whole.next(joined, 2)], [await pieces.logits(cut, 2, [44])]); // nothing is lacking
  });

  it("is left in pieces where only a part is wanted", async () => {
    const before = sessions.whole;
    const engine = await engineOf("whole", [1, 2]);
    expect(sessions.whole - before).toBe(3);
    expect(await answer(engine, engine.newSequence(PROMPT), [2])).toEqual(
      await answer(pieces, pieces.newSequence(PROMPT), [2]),
    );
    await engine.dispose();
  });
});
