/** router.json: a file that is damaged or of another checkpoint is refused, and the service goes on without it. */
import { createHash } from "node:crypto";
import fc from "fast-check";
import { describe, expect, test, vi } from "vitest";
import { readRouter } from "../../src/edge/router-file.ts";
import type { Bundle } from "../../src/model/bundle.ts";
import { parseRouter, ROUTER_FORMAT, type RouterFile } from "../../src/policy/router.ts";

const exits = [3, 6];
const thresholds = { prompt: 0.5, prefill: 0.5, decode: 0.1, alone: 0.6 };
const expected = {
  quality: { lower: 0.95, value: 0.97, upper: 0.99 },
  cost: 0.4,
  gates: { prompt: 0.1, prefill: 0.8, decode: 0.1 },
  exits: { "3": 0.8, "6": 0.2 },
};
const floats = (length: number) => Buffer.from(new Float32Array(length).fill(0.25).buffer).toString("base64");
const FILE: RouterFile = {
  format: ROUTER_FORMAT,
  fingerprint: "0123456789abcdef",
  exits,
  edge_exits: [3],
  default_quality: 0.95,
  prompt: {
    buckets: 8,
    weights: Buffer.from(new Int8Array(16).fill(-3).buffer).toString("base64"),
    scale: [1, 1],
    bias: [0, 0],
  },
  probes: [{ exit: 3, prefill: floats(8), prefill_bias: 0.5, decode: [0, 0, 0, 0, 0], decode_bias: 0 }],
  cascades: [{ min_exit: 3, max_exit: 6, targets: [{ quality: 0.95, thresholds, expected }] }],
  report: {},
};
const BUNDLE = { fingerprint: "0123456789abcdef", exits, shape: { hidden_size: 2 } };

describe("router.json", () => {
  test("is read: signed weights, probes, thresholds", () => {
    const router = parseRouter(FILE, BUNDLE);
    expect(router.prompt.weights[0]).toBe(-3);
    expect(router.prefill.get(3)).toEqual({ weights: new Float32Array(8).fill(0.25), bias: 0.5 });
    expect(router.cascades[0]?.targets[0]?.thresholds).toEqual(thresholds);
  });

  const rise = (prompt: number) => ({ quality: 0.99, thresholds: { ...thresholds, prompt }, expected });
  test.each([
    ["of another checkpoint", { fingerprint: "ffffffffffffffff" }, /calibrated for checkpoint ffff/],
    ["with other exits", { exits: [3, 9] }, /knows exits 3,9/],
    ["of an older format", { format: "sortie-router/1" }, /format/],
    ["with too few weights", { prompt: { ...FILE.prompt, weights: "AAAA" } }, /weights/],
    ["with buckets that are no power of two", { prompt: { ...FILE.prompt, buckets: 7 } }, /buckets/],
    ["without a probe", { probes: [] }, /no probe of exit 3/],
    ["with a probe of another width", { probes: [{ ...FILE.probes[0]!, prefill: floats(6) }] }, /hidden size of 2/],
    [
      "whose thresholds fall as the target rises",
      { cascades: [{ ...FILE.cascades[0]!, targets: [...FILE.cascades[0]!.targets, rise(0.4)] }] },
      /no threshold may fall/,
    ],
  ])("%s is refused by name", (_, change, why) => {
    expect(() => parseRouter({ ...FILE, ...change }, BUNDLE)).toThrow(why);
    expect(() => parseRouter({ ...FILE, ...change }, BUNDLE)).toThrow("npm run calibrate");
  });

  test("whatever is damaged, the service runs on without, and the log says why", async () => {
    const lines = vi.spyOn(console, "error").mockImplementation(() => undefined);
    const whole = Buffer.from(JSON.stringify(FILE));
    const sha256 = createHash("sha256").update(whole).digest("hex");
    const file = { path: "router.json", bytes: whole.length, sha256 };
    const bundle = { ...BUNDLE, router: file } as unknown as Bundle;
    const read = (bytes: Uint8Array) => readRouter({ read: async () => bytes }, bundle);
    expect(await read(whole)).not.toBeNull();
    expect(lines).not.toHaveBeenCalled();
    await fc.assert(
      fc.asyncProperty(fc.nat(whole.length - 1), fc.integer({ min: 1, max: 255 }), async (at, by) => {
        const damaged = Uint8Array.from(whole);
        damaged[at] = (damaged[at]! + by) % 256;
        expect(await read(damaged)).toBeNull();
      }),
      { numRuns: 30 },
    );
    expect(await read(whole.subarray(0, 100))).toBeNull();
    expect(lines.mock.calls.every(([line]) => String(line).includes("router.refused"))).toBe(true);
    lines.mockRestore();
  });
});
