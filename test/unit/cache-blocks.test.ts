/** Keys, bytes and memory of blocks. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  type BlockShape,
  HEADER_BYTES,
  openBlock,
  packBlock,
  payloadBytes,
  sealBlock,
  unpackBlock,
} from "../../src/cache/block-codec.ts";
import { blockKeys, blockName, SHARED_SCOPE } from "../../src/cache/block-keys.ts";
import { ByteLru } from "../../src/cache/byte-lru.ts";
import { STATE_DTYPES } from "../../src/state-dtype.ts";

const MAKER = { fingerprint: "0123456789abcdef", numerics: "w8a8" } as const;
const owner = (scope: string, shared_tokens = 0) => ({ scope, shared_tokens });
const idsArbitrary = fc.array(fc.nat(5), { maxLength: 130 });

describe("keys", () => {
  test("one a whole block, the same for the same beginning, and another from the first difference on", async () => {
    await fc.assert(
      fc.asyncProperty(idsArbitrary, idsArbitrary, async (left, right) => {
        const [a, b] = [await blockKeys(left, MAKER, owner("acme/0")), await blockKeys(right, MAKER, owner("acme/0"))];
        expect(a).toHaveLength(Math.floor(left.length / 32));
        for (const [at, { key }] of a.entries()) {
          const equal = left.slice(0, 32 * (at + 1)).join() === right.slice(0, 32 * (at + 1)).join();
          expect(key === b[at]?.key).toBe(equal && right.length >= 32 * (at + 1));
        }
      }),
    );
  });

  test("of two tenants, checkpoints, arithmetics and epochs are never equal", async () => {
    const ids = Array.from({ length: 96 }, (_, at) => at);
    const all = [
      await blockKeys(ids, MAKER, owner("acme/0")),
      await blockKeys(ids, MAKER, owner("acme/1")),
      await blockKeys(ids, MAKER, owner("umbrella/0")),
      await blockKeys(ids, { ...MAKER, numerics: "bf16" }, owner("acme/0")),
      await blockKeys(ids, { ...MAKER, fingerprint: "fedcba9876543210" }, owner("acme/0")),
    ];
    expect(new Set(all.flat().map(({ key }) => key)).size).toBe(15);
  });

  test("of a marked prefix are everybody's, as far as its whole blocks go", async () => {
    const ids = Array.from({ length: 96 }, (_, at) => at);
    const [a, b] = [await blockKeys(ids, MAKER, owner("a/0", 70)), await blockKeys(ids, MAKER, owner("b/0", 70))];
    expect(a.slice(0, 2)).toEqual(b.slice(0, 2));
    expect(a.map(({ scope }) => scope)).toEqual([SHARED_SCOPE, SHARED_SCOPE, "a/0"]);
    expect(a[2]?.key).not.toBe(b[2]?.key);
  });

  test("go on from known ones", async () => {
    const ids = Array.from({ length: 160 }, (_, at) => at % 7);
    const whole = await blockKeys(ids, MAKER, owner("acme/0"));
    expect(await blockKeys(ids, MAKER, owner("acme/0"), whole.slice(0, 2))).toEqual(whole);
  });
});

const SHAPE: BlockShape = { width: 4, heads: 2, headDim: 2, layers: 3 };
const rowsArbitrary = (length: number) =>
  fc
    .array(fc.float({ noNaN: true, min: -1000, max: 1000 }), { minLength: length, maxLength: length })
    .map((values) => Float32Array.from(values));
const blockArbitrary = fc.record({
  hidden: rowsArbitrary(32 * SHAPE.width),
  keys: fc.tuple(...Array.from({ length: 3 }, () => rowsArbitrary(128))),
  values: fc.tuple(...Array.from({ length: 3 }, () => rowsArbitrary(128))),
});
const LABEL = { key: "ab".repeat(32), lastLayer: 3 };

describe("bytes", () => {
  test.each(STATE_DTYPES)("%s: what is packed is unpacked, within what the type can hold", async (dtype) => {
    await fc.assert(
      fc.asyncProperty(blockArbitrary, async (rows) => {
        const packed = packBlock(rows, SHAPE, dtype);
        expect(packed.payload).toHaveLength(payloadBytes(SHAPE, dtype));
        const sealed = await sealBlock(packed, LABEL);
        const opened = await openBlock(sealed, LABEL, SHAPE);
        expect(opened).toEqual(packed);
        const back = unpackBlock(packed, SHAPE);
        const pairs = [
          ...rows.keys.map((row, at) => [row, back.keys[at]!] as const),
          ...rows.values.map((row, at) => [row, back.values[at]!] as const),
        ];
        if (dtype === "F32") expect(back).toEqual(rows);
        const share = { F32: 0, F16: 2 ** -10, I8: 1 / 127 }[dtype];
        for (const [row, again] of pairs) {
          for (let at = 0; at < row.length; at++) {
            const head = row.subarray(at - (at % 2), at - (at % 2) + 2);
            const largest = Math.max(...head.map(Math.abs));
            expect(Math.abs(row[at]! - again[at]!)).toBeLessThanOrEqual(share * largest + 1e-7);
          }
        }
      }),
      { numRuns: 20 },
    );
  });

  test("tampered, cut short, too long, of another name or layer, or not finite: never opened, never an error", async () => {
    const rows = fc.sample(blockArbitrary, 1)[0]!;
    const sealed = await sealBlock(packBlock(rows, SHAPE, "F32"), LABEL);
    await fc.assert(
      fc.asyncProperty(fc.nat(sealed.length - 1), fc.integer({ min: 1, max: 255 }), async (at, change) => {
        const tampered = sealed.slice();
        tampered[at]! ^= change;
        expect(await openBlock(tampered, LABEL, SHAPE)).toBeNull();
        expect(await openBlock(sealed.subarray(0, at), LABEL, SHAPE)).toBeNull();
      }),
    );
    expect(await openBlock(new Uint8Array([...sealed, 0]), LABEL, SHAPE)).toBeNull();
    expect(await openBlock(sealed, { ...LABEL, key: "cd".repeat(32) }, SHAPE)).toBeNull();
    expect(await openBlock(sealed, { ...LABEL, lastLayer: 6 }, SHAPE)).toBeNull();
    expect(await openBlock(sealed, LABEL, { ...SHAPE, layers: 2 })).toBeNull();
    const broken = await sealBlock(packBlock({ ...rows, hidden: rows.hidden.map(() => NaN) }, SHAPE, "F32"), LABEL);
    expect(await openBlock(broken, LABEL, SHAPE)).toBeNull();
    expect(await openBlock(sealed, LABEL, SHAPE)).not.toBeNull();
  });

  test("are those of the fixture that every implementation reads", async () => {
    const fixture = JSON.parse(
      readFileSync(join(import.meta.dirname, "..", "contract", "fixtures", "blocks.json"), "utf8"),
    ) as Fixture;
    const { shape, label, rows } = fixture;
    const floats = (values: readonly number[]) => Float32Array.from(values);
    const block = { hidden: floats(rows.hidden), keys: rows.keys.map(floats), values: rows.values.map(floats) };
    for (const dtype of STATE_DTYPES) {
      const sealed = await sealBlock(packBlock(block, shape, dtype), label);
      expect(Buffer.from(sealed).toString("base64")).toBe(fixture.sealed[dtype]);
      expect(sealed.length).toBe(HEADER_BYTES + payloadBytes(shape, dtype));
    }
    expect(await blockKeys(fixture.ids, fixture.maker, fixture.owner)).toEqual(fixture.keys);
  });
});

interface Fixture {
  readonly shape: BlockShape;
  readonly label: typeof LABEL;
  readonly rows: { readonly hidden: number[]; readonly keys: number[][]; readonly values: number[][] };
  readonly sealed: Record<string, string>;
  readonly ids: number[];
  readonly maker: typeof MAKER;
  readonly owner: { readonly scope: string; readonly shared_tokens: number };
  readonly keys: unknown;
}

describe("memory", () => {
  test("never holds more than its bytes, and forgets what was used longest ago", () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(9), fc.nat(60), fc.boolean()), { maxLength: 80 }), (moves) => {
        const lru = new ByteLru<number>({ maxBytes: 100, ttlMs: 1_000, now: () => 0 });
        let order: { name: string; bytes: number; value: number }[] = [];
        for (const [at, [id, bytes, isPut]] of moves.entries()) {
          const name = String(id);
          const held = order.find((entry) => entry.name === name);
          order = order.filter((entry) => entry.name !== name);
          if (isPut) {
            lru.put(name, at, bytes);
            order.push({ name, bytes, value: at });
            while (order.reduce((sum, entry) => sum + entry.bytes, 0) > 100) order.shift();
          } else {
            expect(lru.get(name)).toBe(held?.value);
            if (held) order.push(held);
          }
          expect(lru.bytes).toBe(order.reduce((sum, entry) => sum + entry.bytes, 0));
          expect(lru.size).toBe(order.length);
        }
      }),
    );
  });

  test("forgets what is too old, and refuses what is too large", () => {
    let now = 0;
    const lru = new ByteLru<string>({ maxBytes: 10, ttlMs: 100, now: () => now });
    lru.put("large", "x", 11);
    lru.put("a", "a", 4);
    now = 60;
    lru.put("b", "b", 4);
    now = 100;
    expect([lru.get("large"), lru.get("a"), lru.get("b")]).toEqual([undefined, undefined, "b"]);
    expect(lru.bytes).toBe(4);
  });

  test("names tell tenant, epoch, block and layer", () => {
    expect(blockName({ scope: "acme/2", key: "ab" }, 6)).toBe("acme/2/ab/6");
  });
});
