import { spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { defaultCacheMb, usableMemory } from "../../src/origin/cache-size.ts";

const SERVER = join(import.meta.dirname, "../../src/origin/server.ts");
const SECRET = "a secret of some length";

/** Runs the server to its end. @returns exit code and all it printed. */
function run(args: string[], secret: string | null = SECRET): Promise<{ code: number | null; output: string }> {
  return new Promise((resolve, reject) => {
    const { ORIGIN_SECRET: _, ...env } = process.env;
    const child = spawn(process.execPath, [SERVER, ...args], {
      env: secret === null ? env : { ...env, ORIGIN_SECRET: secret },
    });
    let output = "";
    for (const stream of [child.stdout, child.stderr])
      stream.on("data", (chunk: Buffer) => (output += chunk.toString()));
    child.on("error", reject);
    child.on("exit", (code) => resolve({ code, output }));
  });
}

describe("the origin's command line", () => {
  it("explains itself", async () => {
    const { code, output } = await run(["--help"], null);
    expect(code).toBe(0);
    for (const word of ["--bundle", "--host", "--port", "--active", "--queue", "--threads", "ORIGIN_SECRET"]) {
      expect(output).toContain(word);
    }
  });

  it.each([
    ["no secret", [], null, /ORIGIN_SECRET must hold/],
    ["a short secret", [], "short", /ORIGIN_SECRET must hold/],
    ["an option it does not know", ["--nope"], SECRET, /--nope/],
    [
      "a port that is none",
      ["--port", "70000"],
      SECRET,
      /--port must be a whole number from 0 to 65535, it is "70000"/,
    ],
    ["a count that is none", ["--active", "0"], SECRET, /--active/],
    ["no bundle", ["--bundle", "/nonexistent"], SECRET, /no bundle in \/nonexistent\. `npm run build` makes one/],
  ])("ends with a clear word on %s", async (_, args, secret, message) => {
    const { code, output } = await run(args, secret);
    expect([code, output]).toEqual([1, expect.stringMatching(message)]);
    expect(output).not.toMatch(/\n\s+at /); // no stack
  });

  it("ends with a clear word on a broken bundle", async () => {
    const directory = mkdtempSync(join(tmpdir(), "sortie-"));
    writeFileSync(join(directory, "bundle.json"), "{}");
    try {
      const { code, output } = await run(["--bundle", directory]);
      expect([code, output]).toEqual([1, expect.stringMatching(/bundle\.json[^]*npm run build -- --force/)]);
      expect(output).not.toMatch(/\n\s+at /);
    } finally {
      rmSync(directory, { recursive: true });
    }
  });
});

it("the prefix cache is an eighth of the memory, within bounds", () => {
  expect([1e8, 8e9, 1e12].map(defaultCacheMb)).toEqual([64, 1_000, 4_096]);
  expect(usableMemory()).toBeGreaterThan(0);
});
