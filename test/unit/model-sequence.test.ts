import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Handoff } from "../../src/handoff.ts";
import { loadEngine } from "../../src/model/engine.ts";
import { HandoffError } from "../../src/model/errors.ts";
import { BLOCK_TOKENS } from "../../src/model/segment-state.ts";
import { Sequence } from "../../src/model/sequence.ts";
import { KV_WIDTH, mockModel, VOCABULARY, WIDTH } from "./model-mock.ts";

const model = mockModel({ rounding: 1e-3 });
const engine = await loadEngine(model);
const ids = (length: number) => Array.from({ length }, (_, at) => (at * 5 + 1) % VOCABULARY);

/** A sequence whose first `length` positions are computed up to `exit`. */
const read = async (tokens: readonly number[], exit: number) => {
  const sequence = engine.newSequence(tokens);
  await engine.advance(sequence, exit, tokens.length);
  return sequence;
};

describe("tokens", () => {
  test("are refused beyond the context and outside the vocabulary, all or nothing", () => {
    const sequence = engine.newSequence(ids(199));
    expect(() => sequence.append([1, 1])).toThrow(expect.objectContaining({ fault: "context_length" }));
    for (const id of [-1, VOCABULARY, 0.5, Number.NaN]) {
      expect(() => sequence.append([id])).toThrow(expect.objectContaining({ fault: "token_id" }));
    }
    expect(sequence.length).toBe(199);
  });
});

describe("memory", () => {
  test("is made for the prompt and a short answer at once, grows never beyond the context, and counts its bytes", async () => {
    const sequence = await read(ids(40), 1);
    const perToken = 4 * (WIDTH + 2 * KV_WIDTH);
    expect(sequence.bytes).toBe((40 + 128) * perToken);
    sequence.append(ids(128));
    await engine.advance(sequence, 1, 168);
    expect(sequence.bytes).toBe((40 + 128) * perToken);
    sequence.append([1]);
    await engine.advance(sequence, 1, 169);
    expect(sequence.bytes).toBe(200 * perToken);
  });

  test("gives views that are its own buffers", async () => {
    const sequence = await read(ids(40), 3);
    const { keys } = sequence.past(0, 0);
    expect(keys.length).toBe(40 * KV_WIDTH);
    expect(keys.buffer).toBe(sequence.past(0, 0).keys.buffer);
  });
});

describe("rewind", () => {
  test("then advancing again gives the state of the new tokens alone", async () => {
    const sequence = await read(ids(80), 4);
    sequence.rewind(2 * BLOCK_TOKENS);
    sequence.append([3, 3, 3]);
    await engine.advance(sequence, 4, sequence.length);
    const fresh = await read([...ids(64), 3, 3, 3], 4);
    expect(sequence.export(4)).toEqual(fresh.export(4));
  });

  test("refuses what is not inside", () => {
    const sequence = engine.newSequence(ids(5));
    for (const length of [-1, 6, 1.5]) expect(() => sequence.rewind(length)).toThrow(RangeError);
  });
});

describe("handoff", () => {
  test("at every exit resumes to the state of a run that never stopped", async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: 1, max: 150 }),
        fc.constantFrom(1, 3),
        fc.constantFrom(3, 4),
        async (length, from, to) => {
          const handoff = (await read(ids(length), from)).export(from);
          expect(handoff).toMatchObject({ positions: length, exitLayer: from, numerics: "fp32" });
          expect(handoff.pastK).toHaveLength(from);
          const resumed = Sequence.import(model.bundle, handoff);
          const before = model.runs.length;
          await engine.advance(resumed, to, length);
          if (to > from) expect(resumed.export(to)).toEqual((await read(ids(length), to)).export(to));
          const first = model.runs[before];
          if (first !== undefined) expect(first.segment).toBeGreaterThan(model.bundle.exits.indexOf(from));
        },
      ),
      { numRuns: 30 },
    );
  });

  test("may hold ids that have no state yet", async () => {
    const sequence = await read(ids(33), 1);
    sequence.append([9]);
    const handoff = sequence.export(1);
    expect([handoff.positions, handoff.inputIds.length]).toEqual([33, 34]);
    const resumed = Sequence.import(model.bundle, handoff);
    await engine.advance(resumed, 3, 34);
    expect(resumed.computed(1)).toBe(34);
  });

  test("owns its arrays", async () => {
    const sequence = await read(ids(4), 1);
    const handoff = sequence.export(1);
    handoff.pastV[0]?.fill(99);
    expect(sequence.past(0, 0).values).not.toContain(99);
  });

  test("is refused by name of its fault", async () => {
    const good = (await read(ids(5), 3)).export(3);
    const cases: [string, Partial<Handoff>][] = [
      ["fingerprint", { fingerprint: "ffffffffffffffff" }],
      ["numerics", { numerics: "bf16" }],
      ["exit", { exitLayer: 2 }],
      ["shape", { hiddenState: new Float32Array(3) }],
      ["shape", { positions: 4 }],
      ["shape", { positions: 0 }],
      ["shape", { positions: 4.5 }],
      ["shape", { pastK: good.pastK.slice(1) }],
      ["shape", { pastV: good.pastV.map((layer) => layer.subarray(1)) }],
      ["length", { inputIds: good.inputIds.slice(1) }],
      ["length", { inputIds: new Int32Array(201) }],
      ["tokens", { inputIds: Int32Array.of(1, 2, 3, 4, VOCABULARY) }],
    ];
    for (const [fault, change] of cases) {
      expect(() => Sequence.import(model.bundle, { ...good, ...change })).toThrow(HandoffError);
      expect(() => Sequence.import(model.bundle, { ...good, ...change })).toThrow(expect.objectContaining({ fault }));
    }
    expect(Sequence.import(model.bundle, { ...good, numerics: "bf16" }, ["bf16"]).computed(1)).toBe(5);
  });
});
