/** `npm run newcomer`: every command of the documents, as printed, in a fresh clone. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, dirname, join, sep } from "node:path";
import { parseArgs, styleText } from "node:util";
import { blocksOf, missingLine, type Block } from "./newcomer/blocks.ts";
import { Shell, type Outcome } from "./newcomer/shell.ts";

/** Of one command: installing PyTorch, or a training of minutes, on a busy machine. */
const TIMEOUT_MS = 20 * 60_000;
/** Read before all others, in this order: later documents take for granted what these install. */
const FIRST = ["README.md", "gpu-backend/README.md"];
/** Lines of a failed command's output that are shown. */
const SHOWN_LINES = 30;

const HELP = `npm run newcomer [-- FILE…]

Clones this repository as it is committed into an empty folder, and runs the fenced \`sh\` and \`console\` blocks of
README.md and the other documents there, as printed, one document after another. A block that cannot be run here says
so in its fence (\`not-run="reason"\`) and is listed. Needs the network (npm, PyPI), ports 8787 and 8788, and some
gigabytes. With files, only theirs, after \`npm ci\`.

  --keep   leaves the folder there
  --help   this text`;

interface Result {
  readonly where: string;
  readonly state: "ok" | "FAILED" | "not run";
  readonly told: string;
}

/** Without what npm adds for its scripts: a newcomer's shell has none of it. */
function newcomersEnvironment(): NodeJS.ProcessEnv {
  const entries = Object.entries(process.env).filter(([name]) => !/^(npm_|NODE$|INIT_CWD$|CHECKPOINT$)/.test(name));
  const path = (process.env["PATH"] ?? "").split(delimiter).filter((folder) => !folder.includes("node_modules"));
  return { ...Object.fromEntries(entries), PATH: path.join(delimiter) };
}

/** A document's commands run where it lies; those of docs/ in the root, as they say. */
const folderOf = (file: string): string => (file.startsWith(`docs${sep}`) ? "." : dirname(file));

async function runBlock(shell: Shell, { steps, serves }: Block): Promise<Outcome> {
  for (const [at, { command, prints }] of steps.entries()) {
    const shown = (output: string): boolean => missingLine(prints, output) === null;
    const last = at === steps.length - 1;
    const outcome =
      serves && last ? await shell.serve(command, shown, TIMEOUT_MS) : await shell.run(command, TIMEOUT_MS);
    if (!outcome.ok) return outcome;
    const missing = missingLine(prints, outcome.output);
    if (missing !== null) return { ok: false, output: `${outcome.output}\nit did not print: ${missing}` };
  }
  return { ok: true, output: "" };
}

async function runDocument(clone: string, file: string): Promise<Result[]> {
  const shell = new Shell(join(clone, folderOf(file)), newcomersEnvironment());
  const results: Result[] = [];
  try {
    for (const block of blocksOf(readFileSync(join(clone, file), "utf8"))) {
      const where = `${file}:${block.line}`;
      const started = performance.now();
      const outcome = block.notRun === null ? await runBlock(shell, block) : null;
      const seconds = ((performance.now() - started) / 1000).toFixed(0);
      const command = (block.steps[0]?.command.split("\n")[0] ?? "").replace(/\s+#.*$/, "");
      if (outcome === null) results.push({ where, state: "not run", told: `${command}: ${block.notRun}` });
      else results.push({ where, state: outcome.ok ? "ok" : "FAILED", told: `${command} (${seconds} s)` });
      print(results.at(-1)!);
      if (outcome?.ok === false) console.log(outcome.output.trimEnd().split("\n").slice(-SHOWN_LINES).join("\n"));
    }
  } finally {
    await shell.close();
  }
  return results;
}

const COLOURS = { ok: "green", FAILED: "red", "not run": "yellow" } as const;
const print = ({ where, state, told }: Result): void =>
  console.log(`${styleText(COLOURS[state], state.padEnd(8))}${where.padEnd(32)}${told}`);

async function main(chosen: readonly string[], keep: boolean): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "sortie-newcomer-"));
  const clone = join(folder, "sortie");
  execFileSync("git", ["clone", "--quiet", join(import.meta.dirname, ".."), clone], { stdio: "inherit" });
  const tracked = execFileSync("git", ["ls-files", "*.md"], { cwd: clone, encoding: "utf8" }).trim().split("\n");
  const files = chosen.length > 0 ? chosen : [...new Set([...FIRST, ...tracked])];
  if (chosen.length > 0) execFileSync("npm", ["ci"], { cwd: clone, stdio: "ignore", env: newcomersEnvironment() });
  const results: Result[] = [];
  for (const file of files) results.push(...(await runDocument(clone, file)));
  if (!keep) rmSync(folder, { recursive: true, force: true });
  const of = (state: Result["state"]) => results.filter((result) => result.state === state);
  const failed = of("FAILED").map(({ where }) => where);
  console.log(JSON.stringify({ blocks: results.length, ok: of("ok").length, not_run: of("not run").length, failed }));
  if (failed.length > 0) process.exitCode = 1;
}

const { values, positionals } = parseArgs({
  options: { keep: { type: "boolean", default: false }, help: { type: "boolean", default: false } },
  allowPositionals: true,
});
if (values.help) console.log(HELP);
else await main(positionals, values.keep);
