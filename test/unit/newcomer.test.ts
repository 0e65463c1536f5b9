import { execFileSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, expect, test } from "vitest";
import { blocksOf, missingLine } from "../../scripts/newcomer/blocks.ts";
import { Shell } from "../../scripts/newcomer/shell.ts";

const SECOND = 1_000;
const documents = execFileSync("git", ["ls-files", "*.md"], { encoding: "utf8" }).trim().split("\n");
const { scripts } = JSON.parse(readFileSync("package.json", "utf8")) as { scripts: Record<string, string> };

describe("blocks", () => {
  test("commands, what they print, and what is said of them", () => {
    const markdown = [
      "```console",
      "$ one \\",
      ">   more",
      "printed …",
      "",
      "$ two",
      "```",
      "```ts",
      "$ no command",
      "```",
      '  ```sh not-run="no account"',
      "  three",
      "  ```",
      '```sh serves="ready on"',
      "four",
      "```",
    ].join("\n");
    expect(blocksOf(markdown)).toEqual([
      {
        line: 1,
        steps: [
          { command: "one \\\n  more", prints: ["printed …"] },
          { command: "two", prints: [] },
        ],
        notRun: null,
        serves: false,
      },
      { line: 11, steps: [{ command: "three", prints: [] }], notRun: "no account", serves: false },
      { line: 14, steps: [{ command: "four", prints: ["ready on"] }], notRun: null, serves: true },
    ]);
    expect(() => blocksOf("```sh\nx")).toThrow("line 1: the fence never ends");
    expect(() => blocksOf("```sh skip\nx\n```")).toThrow("skip says nothing");
    expect(() => blocksOf("```sh not-run\nx\n```")).toThrow("not-run says nothing"); // a reason must be given
  });

  test("what a document shows must be printed, in its order", () => {
    expect(missingLine(["a … c", "d"], "x\na b c\ny\nd\n")).toBeNull();
    expect(missingLine(["d", "a"], "a\nd\n")).toBe("a");
    expect(missingLine(["a.c"], "abc")).toBe("a.c");
  });
});

test("a shell keeps what was set, tells failures anywhere in a block, and ends its server", async () => {
  const shell = new Shell(".", process.env);
  try {
    expect(await shell.run("word=hello; say() { echo $word $1; }", SECOND)).toEqual({ ok: true, output: "" });
    expect(await shell.run("say you", SECOND)).toEqual({ ok: true, output: "hello you\n" });
    expect(await shell.run("echo before\nfalse\necho after", SECOND)).toEqual({ ok: false, output: "before\n" });
    expect((await shell.run("sleep 5", SECOND)).ok).toBe(false);
    expect(await shell.run("nobody-has-this", SECOND)).toMatchObject({
      ok: false,
      output: expect.stringContaining("not found"),
    });
    expect((await shell.run('echo "$never_set"', SECOND)).ok).toBe(false);
    const served = await shell.serve("echo ready; sleep 60", (output) => output.includes("ready"), 10 * SECOND);
    expect(served).toMatchObject({ ok: true });
    const { output } = await shell.run("pgrep -g $! sleep", SECOND);
    await shell.stopServers();
    expect(existsSync(`/proc/${output.trim()}`)).toBe(false);
    expect((await shell.serve("exit 3", () => false, 10 * SECOND)).ok).toBe(false);
  } finally {
    await shell.close();
  }
});

describe.each(documents)("%s", (file) => {
  const text = readFileSync(file, "utf8");

  test("every command stands in a fence, where npm run newcomer finds it", () => {
    expect(() => blocksOf(text)).not.toThrow();
    const outside = text.replace(/^\s*```[\s\S]*?^\s*```$/gm, "");
    expect(outside.match(/^ {4}(npm|npx|node|python3?|sortie-\w+|git|[A-Z_]+=\S+) .*$/gm) ?? []).toEqual([]);
  });

  test("every script, test and file that it names is there", () => {
    const named = [...text.matchAll(/npm run ([a-z-]+(?::[a-z-]+)*)(?![\w:])/g)].map(([, name]) => name ?? "");
    expect(named.filter((name) => !(name in scripts))).toEqual([]);
    const tests = [...text.matchAll(/test\/[\w/-]+\.test\.ts/g)].map(([path]) => path);
    expect(tests.filter((path) => !existsSync(path))).toEqual([]);
    const links = [...text.matchAll(/\]\((?!https?:|#)([^)#]+)[^)]*\)/g)].map(([, path]) => path ?? "");
    expect(links.filter((path) => !existsSync(join(dirname(file), path)))).toEqual([]);
  });
});
