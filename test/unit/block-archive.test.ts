/** Blocks in R2: whatever the bucket gives back or does, a prompt is answered and nothing wrong is used. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { BlockArchive } from "../../src/cache/block-archive.ts";
import { PrefixCache } from "../../src/cache/prefix-cache.ts";
import { loadEngine } from "../../src/model/engine.ts";
import { mockModel } from "./model-mock.ts";

const { bundle, source, runtime } = mockModel({ contextLength: 400 });
const engine = await loadEngine({ bundle, source, runtime });
const newCache = () => new PrefixCache({ bundle, maxBytes: 1e9, ttlMs: 1e9, dtype: "F32" });
const OWNER = { scope: "acme/0", shared_tokens: 0 };

/** A bucket in memory that counts. */
function memoryBucket() {
  const objects = new Map<string, { bytes: Uint8Array; expires: string }>();
  const calls = { put: 0, failing: false };
  const bucket = {
    async get(name: string) {
      if (calls.failing) throw new Error("the store is down");
      const found = objects.get(name);
      if (found === undefined) return null;
      const { bytes, expires } = found;
      const body = { cancel: async () => undefined };
      return { body, customMetadata: { expires }, arrayBuffer: async () => bytes.slice().buffer };
    },
    async put(name: string, bytes: ArrayBuffer, { customMetadata }: { customMetadata: { expires: string } }) {
      if (calls.failing) throw new Error("the store is down");
      calls.put += 1;
      objects.set(name, { bytes: new Uint8Array(bytes), expires: customMetadata.expires });
    },
    async delete(names: string | string[]) {
      for (const name of [names].flat()) objects.delete(name);
    },
    async list({ prefix }: { prefix: string }) {
      return { objects: [...objects.keys()].filter((key) => key.startsWith(prefix)).map((key) => ({ key })) };
    },
  };
  return { bucket: bucket as unknown as R2Bucket, objects, calls };
}

/** Nine blocks of a prompt, of which two groups of four are whole. */
async function written(ttlMs = 60_000) {
  const memory = memoryBucket();
  const failures: unknown[] = [];
  const archive = new BlockArchive({ bucket: memory.bucket, ttlMs, onFailure: (error) => failures.push(error) });
  const ids = Array.from({ length: 32 * 9 + 5 }, (_, at) => at % 17);
  const cache = newCache();
  const keys = await cache.keys(ids, OWNER);
  const sequence = engine.newSequence(ids);
  await engine.advance(sequence, 3, ids.length);
  cache.keep(sequence, 3, keys);
  for (const lastLayer of [1, 3]) await archive.write(cache, keys, lastLayer, keys.length);
  const readInto = async (empty: PrefixCache) => {
    const wanted = empty.missing(3, keys);
    return empty.take(wanted, await archive.read(wanted));
  };
  return { ...memory, archive, cache, keys, failures, readInto, ids, state: sequence.export(3) };
}

test("whole groups are written once and read back into an empty cache", async () => {
  const { archive, cache, keys, calls, readInto } = await written();
  await archive.write(cache, keys, 1, keys.length);
  expect(calls.put).toBe(4); // two groups, two segments
  const other = newCache();
  expect(await readInto(other)).toBe(16);
  expect(other.held(3, keys)).toEqual([8, 8]);
});

test("what was tampered with, cut short, or put in another's place changes no state", async () => {
  const { objects, keys, readInto, ids, state } = await written();
  const whole = new Map([...objects].map(([name, { bytes }]) => [name, bytes]));
  await fc.assert(
    fc.asyncProperty(fc.nat(), fc.constantFrom("flip", "cut", "swap"), async (at, kind) => {
      const names = [...whole.keys()];
      for (const [index, name] of names.entries()) {
        const bytes = whole.get(kind === "swap" ? names[(index + 1) % names.length]! : name)!.slice();
        if (kind === "flip")
          for (let block = 0; block < 4; block++) bytes[(bytes.length / 4) * block + (at % (bytes.length / 4))]! ^= 1;
        const cut = kind === "cut" ? bytes.subarray(0, at % bytes.length) : bytes;
        objects.set(name, { bytes: cut, expires: String(Date.now() + 1e6) });
      }
      const other = newCache();
      const taken = await readInto(other);
      if (kind !== "swap") expect(taken).toBe(0); // a whole block in another's place says which it is
      const sequence = engine.newSequence(ids);
      other.fill(sequence, 3, keys);
      await engine.advance(sequence, 3, ids.length);
      expect(sequence.export(3)).toEqual(state);
    }),
    { numRuns: 60 },
  );
});

test("what is too old is deleted, a purge deletes a tenant's alone, a store that fails changes nothing", async () => {
  const old = await written(-1);
  expect(await old.readInto(newCache())).toBe(0);
  expect(old.objects.size).toBe(0);
  const { archive, objects, calls, failures, readInto } = await written();
  objects.set("blocks/umbrella/0/key/1", { bytes: new Uint8Array(0), expires: "0" });
  expect(await archive.purge("acme")).toBe(4);
  expect([...objects.keys()]).toEqual(["blocks/umbrella/0/key/1"]);
  calls.failing = true;
  expect(await readInto(newCache())).toBe(0);
  expect(failures).not.toHaveLength(0);
});
