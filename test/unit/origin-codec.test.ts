import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { GREEDY, type GenerationRequest } from "../../src/generation.ts";
import type { Handoff, Numerics } from "../../src/handoff.ts";
import { decodeHandoff, encodeHandoff, handoffBytes, type HandoffTarget } from "../../src/origin/handoff-codec.ts";
import { HandoffRefusal } from "../../src/origin/handoff-refusal.ts";
import { HANDOFF_REFUSAL_CODES, MAX_HEADER_BYTES } from "../../src/origin/protocol.ts";
import { readSafetensors, SafetensorsError, type TensorEntry, writeSafetensors } from "../../src/origin/safetensors.ts";
import { STATE_DTYPES } from "../../src/state-dtype.ts";

const VOCAB = 4096;
const FINGERPRINT = "0123456789abcdef";

interface Case {
  readonly handoff: Handoff;
  readonly request: GenerationRequest;
  readonly target: HandoffTarget;
}

const F16 = { dtype: "F16", kvHeads: 1 } as const;

const finite = fc.float({ noNaN: true, noDefaultInfinity: true });

const cases: fc.Arbitrary<Case> = fc
  .record({
    exitLayer: fc.integer({ min: 1, max: 4 }),
    positions: fc.integer({ min: 1, max: 5 }),
    more: fc.integer({ min: 0, max: 3 }),
    hiddenSize: fc.integer({ min: 1, max: 6 }),
    kvHeads: fc.integer({ min: 1, max: 2 }),
    headDim: fc.integer({ min: 1, max: 2 }),
    numerics: fc.constantFrom<Numerics>("w8a8", "fp32", "bf16"),
    requestId: fc.string({ minLength: 1, maxLength: 40, unit: "binary" }),
  })
  .chain(({ exitLayer, positions, more, hiddenSize, kvHeads, headDim, numerics, requestId }) => {
    const kvSize = kvHeads * headDim;
    const rows = (columns: number) =>
      fc
        .array(finite, { minLength: positions * columns, maxLength: positions * columns })
        .map((values) => Float32Array.from(values));
    const layers = fc.array(rows(kvSize), { minLength: exitLayer, maxLength: exitLayer });
    const ids = fc.array(fc.nat(VOCAB - 1), { minLength: positions + more, maxLength: positions + more });
    const innerHidden = fc
      .subarray([1, 2, 3].filter((exit) => exit < exitLayer))
      .chain((exits) => fc.tuple(...exits.map((exit) => rows(hiddenSize).map((of) => [exit, of] as const))));
    return fc
      .tuple(ids, rows(hiddenSize), layers, layers, innerHidden)
      .map(([tokenIds, hiddenState, pastK, pastV, inner]): Case => ({
        handoff: {
          fingerprint: FINGERPRINT,
          numerics,
          exitLayer,
          positions,
          inputIds: Int32Array.from(tokenIds),
          hiddenState,
          innerHidden: new Map(inner),
          pastK,
          pastV,
        },
        request: {
          request_id: requestId,
          token_ids: tokenIds,
          answer_tokens: 0,
          exit_layer: 8,
          max_tokens: 5,
          sampling: { ...GREEDY, seed: 7 },
          top_logprobs: 0,
          stop_token_ids: [2],
          cache: { scope: "acme/0", shared_tokens: 0, continued: false },
        },
        target: {
          fingerprint: FINGERPRINT,
          numerics: [numerics],
          exits: [1, 2, 3, 4, 8],
          hiddenSize,
          kvSize,
          kvHeads,
          vocabSize: VOCAB,
        },
      }));
  });

/** One case that does not change, for refusals by name. */
const fixed: Case = {
  ...fc.sample(cases, { numRuns: 1, seed: 1 })[0]!,
};

/** Numbers of a size that states have. */
const small = (value: number): number => value % 2048;
const tame = (handoff: Handoff): Handoff => ({
  ...handoff,
  hiddenState: handoff.hiddenState.map(small),
  pastK: handoff.pastK.map((rows) => rows.map(small)),
  pastV: handoff.pastV.map((rows) => rows.map(small)),
});

/** @returns the refusal's code, or "accepted"; anything else that is thrown fails the test. */
function outcome(body: Uint8Array, target: HandoffTarget): string {
  try {
    decodeHandoff(body, target);
    return "accepted";
  } catch (error) {
    if (!(error instanceof HandoffRefusal)) throw error;
    expect(HANDOFF_REFUSAL_CODES).toContain(error.code);
    return error.code;
  }
}

const headerEnd = (body: Uint8Array): number =>
  8 + Number(new DataView(body.buffer, body.byteOffset).getBigUint64(0, true));

/** Rewrites the JSON header of a body, keeping its data. */
function withHeader(body: Uint8Array, edit: (header: string) => string): Uint8Array {
  const header = new TextEncoder().encode(edit(new TextDecoder().decode(body.subarray(8, headerEnd(body)))));
  const data = body.subarray(headerEnd(body));
  const edited = new Uint8Array(8 + header.length + data.length);
  new DataView(edited.buffer).setBigUint64(0, BigInt(header.length), true);
  edited.set(header, 8);
  edited.set(data, 8 + header.length);
  return edited;
}

/** A handoff in F16, saved by `safetensors.numpy.save_file` of Python's safetensors 0.8.0. */
const WRITTEN_BY_PYTHON =
  "sAIAAAAAAAB7Il9fbWV0YWRhdGFfXyI6eyJyZXF1ZXN0Ijoie1wicmVxdWVzdF9pZFwiOlwiclxcXCLDqVwiLFwidG9rZW5faWRzXCI6WzEs" +
  "MiwzXSxcImFuc3dlcl90b2tlbnNcIjowLFwiZXhpdF9sYXllclwiOjMsXCJtYXhfdG9rZW5zXCI6NSxcInNhbXBsaW5nXCI6e1widGVtcGVy" +
  "YXR1cmVcIjowLFwidG9wX3BcIjoxLFwidG9wX2tcIjowLFwibWluX3BcIjowLFwicmVwZXRpdGlvbl9wZW5hbHR5XCI6MSxcInByZXNlbmNl" +
  "X3BlbmFsdHlcIjowLFwiZnJlcXVlbmN5X3BlbmFsdHlcIjowLFwic2VlZFwiOjF9LFwidG9wX2xvZ3Byb2JzXCI6MCxcInN0b3BfdG9rZW5f" +
  "aWRzXCI6W119IiwicHJvdG9jb2wiOiJzb3J0aWUtb3JpZ2luLzEiLCJudW1lcmljcyI6Inc4YTgiLCJleGl0X2xheWVyIjoiMSIsImZpbmdl" +
  "cnByaW50IjoiMDEyMzQ1Njc4OWFiY2RlZiJ9LCJpbnB1dF9pZHMiOnsiZHR5cGUiOiJJMzIiLCJzaGFwZSI6WzNdLCJkYXRhX29mZnNldHMi" +
  "OlswLDEyXX0sImhpZGRlbl9zdGF0ZSI6eyJkdHlwZSI6IkYxNiIsInNoYXBlIjpbMiwyXSwiZGF0YV9vZmZzZXRzIjpbMTIsMjBdfSwicGFz" +
  "dF9rLjAiOnsiZHR5cGUiOiJGMTYiLCJzaGFwZSI6WzIsMV0sImRhdGFfb2Zmc2V0cyI6WzIwLDI0XX0sInBhc3Rfdi4wIjp7ImR0eXBlIjoi" +
  "RjE2Iiwic2hhcGUiOlsyLDFdLCJkYXRhX29mZnNldHMiOlsyNCwyOF19fSAgICAgAQAAAAIAAAADAAAAADwAQABCgEQARQBGAEcAyA==";

describe("handoff codec", () => {
  it("reads what Python's safetensors wrote", () => {
    const target = {
      fingerprint: FINGERPRINT,
      numerics: ["w8a8"],
      exits: [1, 3],
      hiddenSize: 2,
      kvSize: 1,
      kvHeads: 1,
      vocabSize: 9,
    } as const;
    const { handoff, request } = decodeHandoff(Buffer.from(WRITTEN_BY_PYTHON, "base64"), target);
    expect(request.request_id).toBe('r"é');
    expect(handoff).toEqual({
      fingerprint: FINGERPRINT,
      numerics: "w8a8",
      exitLayer: 1,
      positions: 2,
      inputIds: Int32Array.of(1, 2, 3),
      hiddenState: Float32Array.of(1, 2, 3, 4.5),
      innerHidden: new Map(),
      pastK: [Float32Array.of(5, 6)],
      pastV: [Float32Array.of(7, -8)],
    });
  });

  it("gives back in F32 what it was given, bit for bit", () => {
    fc.assert(
      fc.property(cases, ({ handoff, request, target }) => {
        expect(decodeHandoff(encodeHandoff(handoff, request), target)).toEqual({ handoff, request });
      }),
    );
  });

  it("gives back in F16 what it was given, rounded once", () => {
    fc.assert(
      fc.property(cases, ({ handoff, request, target }) => {
        const sent = tame(handoff);
        const once = decodeHandoff(encodeHandoff(sent, request, F16), target).handoff;
        const close = (a: Float32Array, b: Float32Array) =>
          a.every((value, i) => Math.abs(value - b[i]!) <= Math.max(Math.abs(b[i]!) * 2 ** -11, 2 ** -25));
        expect(close(once.hiddenState, sent.hiddenState)).toBe(true);
        expect(once.pastV.every((values, i) => close(values, sent.pastV[i]!))).toBe(true);
        expect(decodeHandoff(encodeHandoff(once, request, F16), target).handoff).toEqual(once);
      }),
    );
  });

  it("gives back in I8 every value within half a step of its head's scale", () => {
    fc.assert(
      fc.property(cases, ({ handoff, request, target }) => {
        const { kvHeads, kvSize } = target;
        const headDim = kvSize / kvHeads;
        const once = decodeHandoff(encodeHandoff(tame(handoff), request, { dtype: "I8", kvHeads }), target).handoff;
        for (const [layer, rows] of handoff.pastK.entries()) {
          for (let head = 0; head < rows.length; head += headDim) {
            const [sent, read] = [rows.map(small), once.pastK[layer]!].map((of) => of.subarray(head, head + headDim));
            const step = Math.max(...Array.from(sent!, Math.abs)) / 127;
            for (const [at, value] of sent!.entries()) {
              expect(Math.abs(value - read![at]!)).toBeLessThanOrEqual(step * 0.501 + 1e-40);
            }
          }
        }
      }),
    );
  });

  it("leaves inner hidden states out of a request that may keep nothing", () => {
    fc.assert(
      fc.property(cases, ({ handoff, request: { cache, ...request }, target }) => {
        expect(cache).toBeDefined();
        expect(decodeHandoff(encodeHandoff(handoff, request), target).handoff.innerHidden.size).toBe(0);
      }),
    );
  });

  it("says beforehand how many bytes its tensors will take", () => {
    fc.assert(
      fc.property(cases, fc.constantFrom(...STATE_DTYPES), ({ handoff, request, target }, dtype) => {
        const format = { dtype, kvHeads: target.kvHeads };
        const body = encodeHandoff(handoff, request, format);
        expect(handoffBytes(handoff, request, format)).toBe(body.length - headerEnd(body));
      }),
    );
  });

  it("names what is wrong with integers and their scales", () => {
    const { handoff, request, target } = fixed;
    const { metadata, tensors } = readSafetensors(
      encodeHandoff(tame(handoff), request, { dtype: "I8", kvHeads: target.kvHeads }),
    );
    const changed = (name: string, change: Partial<TensorEntry> | null): string => {
      const entries = [...tensors.values()].flatMap((entry) =>
        entry.name !== name ? [entry] : change === null ? [] : [{ ...entry, ...change }],
      );
      return outcome(writeSafetensors(metadata, entries), target);
    };
    const scales = tensors.get("past_k.0.scale")!;
    const infinite = new Uint8Array(new Float32Array(scales.bytes.length / 4).fill(Infinity).buffer);
    expect(changed("", null)).toBe("accepted");
    expect(changed("past_k.0.scale", null)).toBe("handoff_malformed");
    expect(changed("past_k.0.scale", { bytes: infinite })).toBe("handoff_malformed");
    expect(changed("past_k.0.scale", { shape: [1, 1, ...scales.shape] })).toBe("handoff_shape_mismatch");
    expect(changed("past_k.0.scale", { dtype: "I32" })).toBe("handoff_dtype_unsupported");
    const hidden = tensors.get("hidden_state")!;
    const integers = { dtype: "I8", bytes: hidden.bytes.subarray(0, hidden.bytes.length / 2) };
    expect(changed("hidden_state", integers)).toBe("handoff_dtype_unsupported");
    const floats = { dtype: "F32", bytes: new Uint8Array(4 * tensors.get("past_v.0")!.bytes.length) };
    expect(changed("past_v.0", floats)).toBe("handoff_malformed"); // scales of floats
    const inner = { ...hidden, name: "hidden_state.7" };
    expect(outcome(writeSafetensors(metadata, [...tensors.values(), inner]), target)).toBe("handoff_malformed");
  });

  it("reads a body at any alignment, and from a Node Buffer, without changing it", () => {
    fc.assert(
      fc.property(cases, fc.integer({ min: 0, max: 9 }), ({ handoff, request, target }, shift) => {
        const body = encodeHandoff(handoff, request);
        const moved = Buffer.alloc(body.length + shift).subarray(shift);
        moved.set(body);
        expect(decodeHandoff(moved, target).handoff).toEqual(handoff);
      }),
    );
  });

  it("refuses every truncation and every longer body", () => {
    fc.assert(
      fc.property(cases, fc.nat(), ({ handoff, request, target }, cut) => {
        const body = encodeHandoff(handoff, request);
        expect(outcome(body.slice(0, cut % body.length), target)).not.toBe("accepted");
        const longer = new Uint8Array(body.length + 1 + (cut % 8));
        longer.set(body);
        expect(outcome(longer, target)).not.toBe("accepted");
      }),
    );
  });

  it("refuses any flipped header bit, or decodes to a state of the right shape", () => {
    let accepted = 0;
    let refused = 0;
    fc.assert(
      fc.property(cases, fc.nat(), ({ handoff, request, target }, at) => {
        const body = encodeHandoff(handoff, request);
        const bit = at % (headerEnd(body) * 8);
        body[bit >> 3]! ^= 1 << (bit & 7);
        if (outcome(body, target) !== "accepted") return void refused++;
        accepted++;
        const decoded = decodeHandoff(body, target).handoff;
        const { positions } = decoded;
        expect(decoded.hiddenState).toHaveLength(positions * target.hiddenSize);
        expect(decoded.pastK.map((keys) => keys.length)).toEqual(
          Array(decoded.exitLayer).fill(positions * target.kvSize),
        );
        expect(decoded.pastV.map((values) => values.length)).toEqual(
          Array(decoded.exitLayer).fill(positions * target.kvSize),
        );
        expect(Array.from(decoded.inputIds)).toEqual(request.token_ids);
      }),
      { numRuns: 3_000 },
    );
    expect(refused).toBeGreaterThan(accepted);
  });

  it("never throws anything but a refusal on garbage", () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 256 }), (body) => outcome(body, fixed.target) !== "accepted"));
    const tail = fc.string({ maxLength: 200, unit: "binary" });
    fc.assert(
      fc.property(tail, fc.json(), (text, json) => {
        for (const header of [text, json]) {
          const bytes = new TextEncoder().encode(header);
          const body = new Uint8Array(8 + bytes.length);
          new DataView(body.buffer).setBigUint64(0, BigInt(bytes.length), true);
          body.set(bytes, 8);
          expect(outcome(body, fixed.target)).not.toBe("accepted");
        }
      }),
    );
  });

  it("names what is wrong", () => {
    const { handoff, request, target } = fixed;
    const body = encodeHandoff(handoff, request);
    const edited = (from: string | RegExp, to: string): string => {
      const changed = withHeader(body, (header) => header.replace(from, to));
      expect(changed).not.toEqual(body);
      return outcome(changed, target);
    };
    expect(outcome(body, target)).toBe("accepted");
    expect(outcome(body, { ...target, fingerprint: "f".repeat(16) })).toBe("handoff_fingerprint_mismatch");
    expect(outcome(body, { ...target, numerics: [] })).toBe("handoff_numerics_mismatch");
    expect(outcome(body, { ...target, exits: [8] })).toBe("handoff_exit_mismatch");
    expect(outcome(body, { ...target, hiddenSize: target.hiddenSize + 1 })).toBe("handoff_shape_mismatch");
    expect(outcome(body, { ...target, kvSize: target.kvSize + 1 })).toBe("handoff_shape_mismatch");
    expect(outcome(body, { ...target, vocabSize: 1 })).toBe("handoff_malformed");
    expect(edited('"dtype":"I32"', '"dtype":"F32"')).toBe("handoff_dtype_unsupported");
    expect(edited('"dtype":"F32"', '"dtype":"I32"')).toBe("handoff_dtype_unsupported");
    expect(edited('"dtype":"F32"', '"dtype":"Q4"')).toBe("handoff_dtype_unsupported");
    expect(edited('"dtype":"F32"', '"dtype":"F16"')).toBe("handoff_length_mismatch");
    expect(edited('"past_k.0"', '"past_k.9"')).toBe("handoff_malformed");
    expect(edited('"past_k.0"', '"past_v.0"')).toBe("handoff_malformed");
    expect(edited("sortie-origin/1", "sortie-origin/2")).toBe("handoff_malformed");
    expect(edited(/"data_offsets":\[0,/, '"data_offsets":[4,')).toBe("handoff_length_mismatch");
    expect(outcome(encodeHandoff(handoff, { ...request, exit_layer: 0.5 }), target)).toBe("handoff_malformed");
    const shallow = {
      ...handoff,
      exitLayer: 2,
      pastK: [handoff.hiddenState, handoff.hiddenState],
      pastV: [handoff.hiddenState, handoff.hiddenState],
    };
    expect(outcome(encodeHandoff(shallow, { ...request, exit_layer: 1 }), target)).toBe("handoff_exit_mismatch");
    const rows = (columns: number): Float32Array => new Float32Array(2 * columns);
    const more = {
      ...handoff,
      exitLayer: 1,
      positions: 2,
      inputIds: Int32Array.of(1),
      hiddenState: rows(target.hiddenSize),
      innerHidden: new Map(),
    };
    const twoOfOne = { ...more, pastK: [rows(target.kvSize)], pastV: [rows(target.kvSize)] };
    expect(outcome(encodeHandoff(twoOfOne, { ...request, token_ids: [1] }), target)).toBe("handoff_length_mismatch");
    const { metadata, tensors } = readSafetensors(body);
    const extra = { name: "more", dtype: "F32", shape: [0], bytes: new Uint8Array(0) };
    expect(outcome(writeSafetensors(metadata, [...tensors.values(), extra]), target)).toBe("handoff_malformed");
    const infinite = { ...handoff, hiddenState: handoff.hiddenState.map(() => Infinity) };
    expect(outcome(encodeHandoff(infinite, request), target)).toBe("handoff_malformed");
    const other = encodeHandoff(handoff, request);
    other[headerEnd(other)]! ^= 1; // the first id
    expect(outcome(other, target)).toBe("handoff_length_mismatch");
  });

  it("does not encode a handoff that contradicts itself", () => {
    const { handoff, request } = fixed;
    expect(() => encodeHandoff({ ...handoff, pastK: [] }, request)).toThrow(RangeError);
    expect(() => encodeHandoff({ ...handoff, positions: 0 }, request)).toThrow(RangeError);
    expect(() => encodeHandoff(handoff, { ...request, token_ids: [] })).toThrow(RangeError);
  });
});

describe("safetensors", () => {
  const tensor = (name: string, bytes: number[]) => ({
    name,
    dtype: "U8",
    shape: [bytes.length],
    bytes: Uint8Array.from(bytes),
  });
  const reason = (file: Uint8Array): string => {
    try {
      readSafetensors(file);
      return "accepted";
    } catch (error) {
      if (!(error instanceof SafetensorsError)) throw error;
      return `${error.reason}: ${error.message}`;
    }
  };
  const file = writeSafetensors({}, [tensor("a", [1, 2]), tensor("b", [3, 4])]);

  it("refuses overlap, holes, duplicates and a header beyond its bound", () => {
    expect(reason(file)).toBe("accepted");
    expect(reason(withHeader(file, (h) => h.replace("[2,4]", "[1,3]")))).toMatch(/overlap or leave a hole/);
    expect(
      reason(
        withHeader(file, (h) =>
          h.replace("[2,4]", "[2,3]").replace('"shape":[2],"data_offsets":[2', '"shape":[1],"data_offsets":[2'),
        ),
      ),
    ).toMatch(/after the last/);
    expect(reason(withHeader(file, (h) => h.replace('"b"', '"\\u0061"')))).toMatch(/stands twice/);
    expect(reason(withHeader(file, (h) => h.replace('"dtype"', '"dtype":"U8","dtype"')))).toMatch(/stands twice/);
    expect(reason(withHeader(file, (h) => h + " ".repeat(MAX_HEADER_BYTES)))).toMatch(/header of more than/);
    expect(reason(withHeader(file, (h) => h.replace("[2]", "[9007199254740991,9007199254740991]")))).toMatch(/^length/);
    expect(reason(withHeader(file, (h) => h.replace('"dtype":"U8"', '"dtype":"constructor"')))).toMatch(/^dtype/);
    expect(reason(withHeader(file, (h) => h.replace('"a"', '"__proto__"')))).toBe("accepted");
  });

  it("refuses a header that is cut short in its padding", () => {
    const empty = writeSafetensors({}, []);
    expect(empty.at(-1)).toBe(0x20);
    expect(reason(empty.slice(0, -1))).toMatch(/cut short/);
  });

  it("aligns the data to 8 bytes", () => {
    for (const name of ["a", "ab", "abc", "abcdefg"]) {
      expect(headerEnd(writeSafetensors({ k: name }, [tensor(name, [1])])) % 8).toBe(0);
    }
  });
});
