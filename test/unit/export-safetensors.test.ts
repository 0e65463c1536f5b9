/** safetensors files written by hand, byte by byte, and read back. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { fingerprint } from "../../scripts/export/fingerprint.ts";
import { halfToFloat, Safetensors } from "../../scripts/export/safetensors.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "sortie-safetensors-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

interface Tensor {
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly data: ArrayBufferView;
}

function write(name: string, tensors: Record<string, Tensor>): void {
  const header: Record<string, unknown> = { __metadata__: { format: "pt" } };
  const parts: Uint8Array[] = [];
  let end = 0;
  for (const [key, { dtype, shape, data }] of Object.entries(tensors)) {
    header[key] = { dtype, shape, data_offsets: [end, end + data.byteLength] };
    parts.push(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
    end += data.byteLength;
  }
  // An odd header length: the data then start at an odd byte.
  const text = new TextEncoder().encode(JSON.stringify(header).padEnd(301));
  const length = new Uint8Array(BigUint64Array.of(BigInt(text.length)).buffer);
  writeFileSync(join(folder, name), Buffer.concat([length, text, ...parts]));
}

const matrix = (dtype: string, data: ArrayBufferView): Tensor => ({ dtype, shape: [2, 2], data });

describe("Safetensors", () => {
  it("reads F32, F16 and BF16 as float32", () => {
    write("model.safetensors", {
      f32: matrix("F32", Float32Array.of(1, -2.5, 3e-38, 4)),
      f16: matrix("F16", Uint16Array.of(0x3c00, 0xc100, 0x0001, 0x7bff)),
      bf16: matrix("BF16", Uint16Array.of(0x3f80, 0xc020, 0x0001, 0x7f7f)),
    });
    using source = new Safetensors(folder);
    expect([...source.tensor("f32", [2, 2])]).toEqual([1, -2.5, Math.fround(3e-38), 4]);
    expect([...source.tensor("f16", [2, 2])]).toEqual([1, -2.5, 2 ** -24, 65_504]);
    expect([...source.tensor("bf16", [2, 2])]).toEqual([1, -2.5, 2 ** -133, (2 - 2 ** -7) * 2 ** 127]);
    expect([...source.rows("f16", [2, 2], 1, 2)]).toEqual([2 ** -24, 65_504]);
  });

  it("knows every float16", () => {
    const expected = new Float16Array(Uint16Array.from({ length: 65_536 }, (_, i) => i).buffer);
    for (let bits = 0; bits < 65_536; bits++) expect(halfToFloat(bits)).toBe(expected[bits]);
  });

  it("reads a checkpoint in several files", () => {
    write("model-00001-of-00002.safetensors", { a: matrix("F32", Float32Array.of(1, 2, 3, 4)) });
    write("model-00002-of-00002.safetensors", { b: matrix("F32", Float32Array.of(5, 6, 7, 8)) });
    const weight_map = { b: "model-00002-of-00002.safetensors", a: "model-00001-of-00002.safetensors" };
    writeFileSync(join(folder, "model.safetensors.index.json"), JSON.stringify({ metadata: {}, weight_map }));
    using source = new Safetensors(folder);
    expect([...source.tensor("a", [2, 2]), ...source.tensor("b", [2, 2])]).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
  });

  it("names what is wrong", () => {
    expect(() => new Safetensors(folder)).toThrow("neither model.safetensors nor model.safetensors.index.json");
    write("model.safetensors", { a: matrix("F32", Float32Array.of(1, 2, 3, 4)) });
    using source = new Safetensors(folder);
    expect(() => source.tensor("b", [2, 2])).toThrow("the checkpoint has no tensor b");
    expect(() => source.tensor("a", [4, 1])).toThrow("a has shape [2,2]; config.json asks for [4,1]");
    write("model.safetensors", { a: matrix("I64", BigInt64Array.of(1n, 2n, 3n, 4n)) });
    expect(() => new Safetensors(folder)).toThrow("a has dtype I64");
    write("model.safetensors", { a: matrix("F32", Float32Array.of(1, 2)) });
    expect(() => new Safetensors(folder)).toThrow("a has a wrong length");
    writeFileSync(join(folder, "model.safetensors"), "not one at all");
    expect(() => new Safetensors(folder)).toThrow("not a safetensors file");
    writeFileSync(join(folder, "model.safetensors"), "short");
    expect(() => new Safetensors(folder)).toThrow("the file ends early");
  });
});

describe("fingerprint", () => {
  it("covers config and weights, and nothing else", async () => {
    write("model.safetensors", { a: matrix("F32", Float32Array.of(1, 2, 3, 4)) });
    writeFileSync(join(folder, "config.json"), "{}");
    const before = await fingerprint(folder);
    expect(before).toMatch(/^[0-9a-f]{16}$/);
    writeFileSync(join(folder, "tokenizer.json"), "{}");
    expect(await fingerprint(folder)).toBe(before);
    writeFileSync(join(folder, "config.json"), "{ }");
    expect(await fingerprint(folder)).not.toBe(before);
    writeFileSync(join(folder, "config.json"), "{}");
    write("model.safetensors", { a: matrix("F32", Float32Array.of(1, 2, 3, 5)) });
    expect(await fingerprint(folder)).not.toBe(before);
  });
});
