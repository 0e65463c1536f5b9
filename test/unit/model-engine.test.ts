import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { openBundle } from "../../src/model/bundle.ts";
import { loadEngine } from "../../src/model/engine.ts";
import { BundleError, EngineError } from "../../src/model/errors.ts";
import { BLOCK_TOKENS } from "../../src/model/segment-state.ts";
import { Sequence } from "../../src/model/sequence.ts";
import { mockModel, type MockOptions, VOCABULARY } from "./model-mock.ts";

const load = async (options?: MockOptions, exits?: number[]) => {
  const model = mockModel(options);
  return { model, engine: await loadEngine({ ...model, ...(exits && { exits }) }) };
};
const prompt = (length: number) => Array.from({ length }, (_, at) => (at * 7 + 3) % VOCABULARY);

describe("loading", () => {
  test("opens the rim and the segments up to the deepest exit wanted", async () => {
    const { model, engine } = await load({}, [3]);
    expect(engine.exits).toEqual([1, 3]);
    expect(model.open).toBe(3);
    await engine.dispose();
    expect(model.open).toBe(0);
    await expect(engine.advance(engine.newSequence([1]), 1, 1)).rejects.toMatchObject({ fault: "disposed" });
  });

  test("refuses an exit the bundle has not", async () => {
    await expect(load({}, [2])).rejects.toBeInstanceOf(EngineError);
    await expect(load({}, [])).rejects.toMatchObject({ fault: "unknown_exit" });
  });

  test.each([
    ["a changed byte", (bytes: Uint8Array) => bytes.map((byte, at) => (at === 1 ? byte ^ 1 : byte)), "digest"],
    ["a missing end", (bytes: Uint8Array) => bytes.slice(0, -1), "size"],
  ] as const)("names the file with %s, and frees what it had opened", async (_, damage, fault) => {
    const model = mockModel();
    const path = "segment-1.bin";
    model.files.set(path, damage(model.files.get(path) ?? new Uint8Array(0)));
    const failure = await loadEngine(model).catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(BundleError);
    expect(failure).toMatchObject({ fault, path });
    expect(model.open).toBe(0);
  });

  test("names a file that is not there", async () => {
    const model = mockModel();
    model.files.delete("rim.bin");
    await expect(loadEngine(model)).rejects.toMatchObject({ fault: "unreadable", path: "rim.bin" });
  });

  test("reads its manifest, and refuses one whose segments do not match its exits", async () => {
    const model = mockModel();
    expect(await openBundle(model.source)).toEqual(model.bundle);
    const torn = { ...model.bundle, exits: [1, 2, 4] };
    model.files.set("bundle.json", new TextEncoder().encode(JSON.stringify(torn)));
    await expect(openBundle(model.source)).rejects.toMatchObject({ fault: "manifest" });
    model.files.set("bundle.json", new TextEncoder().encode("{"));
    await expect(openBundle(model.source)).rejects.toMatchObject({ fault: "manifest" });
  });
});

describe("advance", () => {
  test("runs chunks that end at absolute multiples of the block", async () => {
    const { model, engine } = await load();
    const sequence = engine.newSequence(prompt(70));
    await engine.advance(sequence, 1, 70);
    expect(model.runs.map(({ start, tokens }) => [start, tokens])).toEqual([
      [0, 32],
      [32, 32],
      [64, 6],
    ]);
    await engine.advance(sequence, 1, 70);
    expect(model.runs).toHaveLength(3);
  });

  test("fills deeper layers of positions that stopped early, from their hidden states", async () => {
    const { model, engine } = await load();
    const whole = engine.newSequence(prompt(50));
    await engine.advance(whole, 4, 50);
    const late = engine.newSequence(prompt(50));
    await engine.advance(late, 1, 50);
    await engine.advance(late, 3, 33);
    await engine.advance(late, 4, 50);
    expect(await engine.logits(late, 4, [49])).toEqual(await engine.logits(whole, 4, [49]));
    expect(model.runs.filter(({ segment, start }) => segment === 0 && start === 0)).toHaveLength(2);
  });

  test("gives the same state however the prompt is fed", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 150 }),
        fc.array(fc.integer({ min: 1, max: 60 }), { maxLength: 8 }),
        fc.constantFrom(1, 3, 4),
        async (length, pieces, exit) => {
          const { engine } = await load({ rounding: 1e-3 });
          const ids = prompt(length);
          const once = engine.newSequence(ids);
          await engine.advance(once, exit, length);
          const fed = engine.newSequence();
          for (const piece of pieces) {
            fed.append(ids.slice(fed.length, fed.length + piece));
            await engine.feed(fed, exit);
          }
          fed.append(ids.slice(fed.length));
          await engine.advance(fed, exit, length);
          expect(fed.export(exit)).toEqual(once.export(exit));
        },
      ),
      { numRuns: 40 },
    );
  });

  test("stops at a step when its signal aborts, and keeps what is computed", async () => {
    const { model, engine } = await load();
    const sequence = engine.newSequence(prompt(150));
    const controller = new AbortController();
    const advancing = engine.advance(sequence, 4, 150, controller.signal);
    setImmediate(() => controller.abort(new Error("gone")));
    await expect(advancing).rejects.toThrow("gone");
    expect(model.runs.length).toBeLessThan(3 * Math.ceil(150 / BLOCK_TOKENS));
    expect(sequence.computed(2) % BLOCK_TOKENS).toBe(0);
    await engine.advance(sequence, 4, 150);
    expect(sequence.computed(2)).toBe(150);
  });

  test("refuses positions without tokens and states that are not there", async () => {
    const { engine } = await load();
    const sequence = engine.newSequence(prompt(3));
    await expect(engine.advance(sequence, 1, 4)).rejects.toMatchObject({ fault: "sequence" });
    await expect(engine.advance(sequence, 2, 3)).rejects.toMatchObject({ fault: "unknown_exit" });
    await expect(engine.logits(sequence, 1, [2])).rejects.toMatchObject({ fault: "no_state" });
  });

  test("takes turns between sequences, a step each", async () => {
    const { model, engine } = await load();
    const [left, right] = [engine.newSequence(prompt(96)), engine.newSequence(prompt(65))];
    await Promise.all([engine.advance(left, 1, 96), engine.advance(right, 1, 65)]);
    expect(model.runs.map(({ start, tokens }) => [start, tokens])).toEqual([
      [0, 32],
      [0, 32],
      [32, 32],
      [32, 32],
      [64, 32],
      [64, 1],
    ]);
  });

  test("goes on after a step that failed", async () => {
    const { engine } = await load();
    const sequence = engine.newSequence(prompt(3));
    await Promise.allSettled([engine.logits(sequence, 1, [0]), engine.advance(sequence, 1, 3)]);
    expect(sequence.computed(0)).toBe(3);
  });
});

describe("a warm-up", () => {
  test("leaves nothing behind and fits a short context", async () => {
    const { engine } = await load({ contextLength: 20 });
    await engine.warmUp();
    const sequence = new Sequence(engine.bundle);
    expect(sequence.bytes).toBe(0);
  });
});
