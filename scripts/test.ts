/** `npm test`: every suite, TypeScript and Python, one after another; what they need is installed first. */
import { spawnSync } from "node:child_process";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { createHash } from "node:crypto";
import { join } from "node:path";
import { parseArgs } from "node:util";

const ROOT = join(import.meta.dirname, "..");
const BACKEND = join(ROOT, "gpu-backend");
const VENV = join(BACKEND, ".venv");
const PYTHON = join(VENV, "bin", "python");
/** Remembers which requirements the environment was made from. */
const STAMP = join(VENV, "requirements.sha256");

const HELP = `npm test [-- --only NAME]

Runs every suite. The first run makes a Python environment in gpu-backend/.venv (some gigabytes with PyTorch).

  --only NAME   one of: build, check, worker, contract, golden, deploy, e2e, python
  --help        this text`;

interface Step {
  readonly name: string;
  /** @returns true when it passed */
  readonly run: () => boolean;
}

function command(program: string, args: readonly string[], cwd = ROOT): boolean {
  console.log(`\n$ ${program} ${args.join(" ")}`);
  return spawnSync(program, args, { cwd, stdio: "inherit" }).status === 0;
}

/** The Python environment, made anew when requirements.txt has changed. */
function environment(): boolean {
  const wanted = createHash("sha256")
    .update(readFileSync(join(BACKEND, "requirements.txt")))
    .digest("hex");
  if (existsSync(STAMP) && readFileSync(STAMP, "utf8") === wanted) return true;
  const made =
    command("python3", ["-m", "venv", "--clear", VENV]) &&
    command(PYTHON, ["-m", "pip", "install", "--quiet", "--require-hashes", "-r", "requirements.txt"], BACKEND) &&
    command(PYTHON, ["-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "-e", "."], BACKEND);
  if (made) writeFileSync(STAMP, wanted);
  else console.error("The Python suites need python3 (3.11 or newer) with venv and pip.");
  return made;
}

const vitest = (project: string) => (): boolean => command("vitest", ["run", "--project", project]);

const STEPS: readonly Step[] = [
  { name: "build", run: () => command("npm", ["run", "--silent", "build"]) && environment() },
  { name: "check", run: () => command("npm", ["run", "--silent", "check"]) },
  { name: "worker", run: vitest("worker") },
  { name: "contract", run: vitest("contract") },
  { name: "golden", run: vitest("golden") },
  { name: "deploy", run: () => command("wrangler", ["deploy", "--dry-run", "--env", "production"]) },
  { name: "e2e", run: vitest("e2e") },
  {
    name: "python",
    run: () =>
      environment() &&
      command(PYTHON, ["-m", "ruff", "check", "."], BACKEND) &&
      command(PYTHON, ["-m", "ruff", "format", "--check", "."], BACKEND) &&
      command(PYTHON, ["-m", "pytest", "-q"], BACKEND),
  },
];

const { values } = parseArgs({ options: { only: { type: "string" }, help: { type: "boolean" } } });
if (values.help) {
  console.log(HELP);
} else {
  const steps = STEPS.filter(({ name }) => values.only === undefined || values.only === name);
  if (steps.length === 0) {
    console.error(
      `--only: unknown suite ${JSON.stringify(values.only)}; one of ${STEPS.map(({ name }) => name).join(", ")}`,
    );
    process.exit(2);
  }
  const results = steps.map(({ name, run }) => {
    const started = performance.now();
    const passed = run();
    return { name, passed, seconds: Math.round((performance.now() - started) / 1000) };
  });
  console.log();
  for (const { name, passed, seconds } of results)
    console.log(`${passed ? "ok    " : "FAILED"} ${name} (${seconds} s)`);
  const failed = results.filter(({ passed }) => !passed).length;
  console.log(`suites: ${results.length - failed} passed, ${failed} failed`);
  process.exitCode = failed === 0 ? 0 : 1;
}
