import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { jsonSize, readBody } from "../../src/api/json-body.ts";
import { MAX_JSON_MEMBERS, MAX_OBJECT_MEMBERS } from "../../src/api/bounds.ts";
import { z } from "zod";

const request = (body: BodyInit, contentType: string | null = "application/json") => {
  const made = new Request("http://localhost", { method: "POST", body });
  if (contentType === null) made.headers.delete("content-type");
  else made.headers.set("content-type", contentType);
  return made;
};

const readJson = (read: Request): Promise<unknown> => readBody(read, z.unknown());

/** Depth by definition. */
function depthOf(value: unknown): number {
  if (typeof value !== "object" || value === null) return 0;
  return 1 + Math.max(0, ...Object.values(value).map(depthOf));
}

describe("JSON bodies", () => {
  test.each(["application/json", "application/json; charset=utf-8", "Application/JSON"])("%s is read", async (type) => {
    expect(await readJson(request('{"a": 1}', type))).toEqual({ a: 1 });
  });

  test.each(["text/plain", "application/jsonp", null])("content type %s: 415", async (type) => {
    await expect(readJson(request("{}", type))).rejects.toMatchObject({
      status: 415,
      code: "unsupported_content_type",
    });
  });

  test.each(["gzip", "br", "deflate", "GZIP"])("content encoding %s: 415", async (encoding) => {
    const compressed = request("{}");
    compressed.headers.set("content-encoding", encoding);
    await expect(readJson(compressed)).rejects.toMatchObject({ status: 415, code: "unsupported_content_encoding" });
  });

  test.each<[string, BodyInit]>([
    ["nothing", ""],
    ["half", '{"a": '],
    ["a single quote", "{'a': 1}"],
    ["not UTF-8", new Uint8Array([0x22, 0xff, 0x22])],
    ["too deep", "[".repeat(17) + "]".repeat(17)],
    ["far too deep", "[".repeat(500_000)],
    [
      "an object with too many members",
      `{${Array.from({ length: MAX_OBJECT_MEMBERS + 1 }, (_, at) => `"k${at}":0`).join(",")}}`,
    ],
    ["too many members in many objects", `[${'{"a":1,"b":2},'.repeat(MAX_JSON_MEMBERS)}0]`],
  ])("%s: 400", async (_, body) => {
    await expect(readJson(request(body))).rejects.toMatchObject({ status: 400, type: "invalid_request_error" });
  });

  test("16 levels are read", async () => {
    expect(await readJson(request("[".repeat(16) + "]".repeat(16)))).toEqual(
      JSON.parse("[".repeat(16) + "]".repeat(16)),
    );
  });

  test("members are those of all objects, whatever strings hold", () => {
    fc.assert(
      fc.property(fc.json(), (text) => {
        const membersOf = (value: unknown): number => {
          if (typeof value !== "object" || value === null) return 0;
          const own = Array.isArray(value) ? 0 : Object.keys(value).length;
          return own + Object.values(value).reduce((sum: number, one) => sum + membersOf(one), 0);
        };
        const widestOf = (value: unknown): number => {
          if (typeof value !== "object" || value === null) return 0;
          const own = Array.isArray(value) ? 0 : Object.keys(value).length;
          return Math.max(own, ...Object.values(value).map(widestOf));
        };
        const { members, widest } = jsonSize(text);
        const value: unknown = JSON.parse(text);
        return members === membersOf(value) && widest === widestOf(value);
      }),
    );
  });

  test("depth is that of the value, whatever its strings hold", () => {
    const strings = fc.oneof(fc.string(), fc.constantFrom("[[[", "}\\", '\\"{', "\\\\"));
    const { value } = fc.letrec((tie) => ({
      value: fc.oneof(
        { maxDepth: 6 },
        strings,
        fc.array(tie("value"), { maxLength: 3 }),
        fc.dictionary(strings, tie("value"), { maxKeys: 3 }),
      ),
    }));
    fc.assert(fc.property(value, (sample) => jsonSize(JSON.stringify(sample)).depth === depthOf(sample)));
  });

  test("a hostile text of a megabyte is measured in one pass", () => {
    const started = performance.now();
    jsonSize(`"${'\\"'.repeat(500_000)}`);
    expect(performance.now() - started).toBeLessThan(1_000);
  });
});
