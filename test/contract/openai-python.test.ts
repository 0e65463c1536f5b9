/** The official `openai` Python SDK: starts the project and runs openai_python.py against it. */
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect, test } from "vitest";
import { DEMO_KEY, startServer } from "./support/server.ts";

const REPOSITORY = join(import.meta.dirname, "..", "..");
/** The virtual environment of gpu-backend/requirements.txt, or the one that is named. */
const PYTHON = process.env["SORTIE_TEST_PYTHON"] ?? join(REPOSITORY, "gpu-backend", ".venv", "bin", "python");
const TIMEOUT_MS = 300_000;

const missing = !existsSync(PYTHON);
if (missing) console.log(`skipped: the Python SDK's contract; there is no ${PYTHON} (see gpu-backend/README.md)`);

test.skipIf(missing)(
  "openai_python.py passes",
  async () => {
    const server = await startServer();
    try {
      const args = ["-m", "pytest", "-q", "-p", "no:cacheprovider", join(import.meta.dirname, "openai_python.py")];
      const env = { ...process.env, SORTIE_URL: server.url, SORTIE_KEY: DEMO_KEY, PYTHONDONTWRITEBYTECODE: "1" };
      const run = promisify(execFile)(PYTHON, args, { cwd: REPOSITORY, env });
      const { stdout } = await run.catch((error: { stdout: string; stderr: string }) => {
        throw new Error(`${error.stdout}\n${error.stderr}`);
      });
      expect(stdout).toMatch(/^\d+ passed/m);
    } finally {
      await server.stop();
    }
  },
  TIMEOUT_MS,
);
