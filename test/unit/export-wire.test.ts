/** The wire format, read back by a decoder of its own written from the specification. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { nodeMessage, tensorMessage, valueMessage } from "../../scripts/export/onnx/proto.ts";
import { MessageWriter } from "../../scripts/export/onnx/wire.ts";

type Field = readonly [number: number, value: bigint | number | Uint8Array];

/** Every field of one message, in order. Fails on a wire type that is not used. */
function decode(bytes: Uint8Array): Field[] {
  let at = 0;
  const varint = () => {
    let value = 0n;
    for (let shift = 0n; ; shift += 7n) {
      const byte = bytes[at++];
      if (byte === undefined) throw new Error("cut short");
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
  };
  const fields: Field[] = [];
  while (at < bytes.length) {
    const tag = Number(varint());
    const number = tag >> 3;
    if ((tag & 7) === 0) fields.push([number, BigInt.asIntN(64, varint())]);
    else if ((tag & 7) === 2) {
      const length = Number(varint());
      fields.push([number, bytes.slice(at, at + length)]);
      at += length;
    } else if ((tag & 7) === 5) {
      fields.push([number, new DataView(bytes.buffer, bytes.byteOffset + at).getFloat32(0, true)]);
      at += 4;
    } else throw new Error(`wire type ${tag & 7}`);
  }
  return fields;
}

const text = (value: Field | undefined) => new TextDecoder().decode(value?.[1] as Uint8Array);
const all = (fields: readonly Field[], number: number) => fields.filter(([field]) => field === number);
const first = (fields: readonly Field[], number: number) => all(fields, number)[0];

describe("wire format", () => {
  it("gives back every integer of 64 bits", () => {
    fc.assert(
      fc.property(
        fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
        fc.integer({ min: 1, max: 2000 }),
        (n, tag) => {
          expect(decode(new MessageWriter().int(tag, n).finish())).toEqual([[tag, n]]);
        },
      ),
    );
  });

  it("writes the specification's own example", () => {
    expect([...new MessageWriter().int(1, 150).finish()]).toEqual([0x08, 0x96, 0x01]);
    expect([...new MessageWriter().string(2, "testing").finish()]).toEqual([
      0x12, 0x07, 0x74, 0x65, 0x73, 0x74, 0x69, 0x6e, 0x67,
    ]);
  });

  it("gives back floats, bytes, text and nested messages of any length", () => {
    const item = fc.record({ float: fc.float(), bytes: fc.uint8Array({ maxLength: 600 }), text: fc.string() });
    fc.assert(
      fc.property(fc.array(item, { maxLength: 8 }), (items) => {
        const writer = new MessageWriter();
        for (const { float, bytes, text: string } of items) {
          writer.message(1, new MessageWriter().float(2, float).bytes(3, bytes).string(4, string));
        }
        const decoded = decode(writer.finish()).map(([, value]) => decode(value as Uint8Array));
        expect(decoded.map((fields) => [first(fields, 2)?.[1], first(fields, 3)?.[1], text(first(fields, 4))])).toEqual(
          items.map((expected) => [expected.float, expected.bytes, expected.text]),
        );
      }),
    );
  });

  it("refuses what is no integer", () => {
    expect(() => new MessageWriter().int(1, 0.5)).toThrow(RangeError);
  });
});

describe("ONNX messages", () => {
  it("writes a node's attributes with their kinds", () => {
    const fields = decode(
      nodeMessage({
        type: "Op",
        domain: "com.microsoft",
        name: "n",
        inputs: ["a", "", "c"],
        outputs: ["y"],
        attributes: { i: { int: -1 }, f: { float: 0.5 }, l: { ints: [1, 2] }, s: { string: "x" } },
      }).finish(),
    );
    expect(all(fields, 1).map(text)).toEqual(["a", "", "c"]);
    expect([text(first(fields, 3)), text(first(fields, 4)), text(first(fields, 7))]).toEqual([
      "n",
      "Op",
      "com.microsoft",
    ]);
    const attributes = all(fields, 5).map(([, value]) => decode(value as Uint8Array));
    expect(attributes.map((attribute) => first(attribute, 20)?.[1])).toEqual([2n, 1n, 7n, 3n]);
    expect(all(attributes[2]!, 8).map(([, value]) => value)).toEqual([1n, 2n]);
  });

  it("points to external data by file, offset and length", () => {
    const info = { name: "w", type: "uint8", dims: [2, 3] } as const;
    const fields = decode(tensorMessage(info, { location: "rim.0.bin", offset: 64, length: 6 }).finish());
    const entries = all(fields, 13).map(([, value]) => decode(value as Uint8Array));
    expect(entries.map((entry) => [text(first(entry, 1)), text(first(entry, 2))])).toEqual([
      ["location", "rim.0.bin"],
      ["offset", "64"],
      ["length", "6"],
    ]);
    expect(first(fields, 14)?.[1]).toBe(1n);
    expect(all(fields, 9)).toEqual([]);
  });

  it("names the dimensions that are known at run time only", () => {
    const type = decode(first(decode(valueMessage("x", "int64", ["B", 4]).finish()), 2)![1] as Uint8Array);
    const tensor = decode(first(type, 1)![1] as Uint8Array);
    expect(first(tensor, 1)?.[1]).toBe(7n);
    const dims = all(decode(first(tensor, 2)![1] as Uint8Array), 1).map(([, value]) => decode(value as Uint8Array));
    expect([text(first(dims[0]!, 2)), first(dims[1]!, 1)?.[1]]).toEqual(["B", 4n]);
  });
});
