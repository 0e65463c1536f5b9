/** The official `openai` Python SDK: starts servers and runs the files that ask them. */
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { adminClient, type AdminClient } from "../../scripts/tenants/admin-client.ts";
import type { Policy } from "../../src/tenant/policy.ts";
import { KEY } from "../unit/api-flow.ts";
import { budgetOf, UNLIMITED } from "../unit/memory-payer.ts";
import { RETRY_AFTER_SECONDS, startFailingServer } from "./support/failing-server.ts";
import { ADMIN_TOKEN, DEMO_KEY, startServer } from "./support/server.ts";

const REPOSITORY = join(import.meta.dirname, "..", "..");
/** The virtual environment of gpu-backend/requirements.txt, or the one that is named. */
const PYTHON = process.env["SORTIE_TEST_PYTHON"] ?? join(REPOSITORY, "gpu-backend", ".venv", "bin", "python");
const TIMEOUT_MS = 300_000;

const missing = !existsSync(PYTHON);
if (missing) console.log(`skipped: the Python SDK's contract; there is no ${PYTHON} (see gpu-backend/README.md)`);

beforeAll(() => {
  for (const level of ["info", "error"] as const) vi.spyOn(console, level).mockImplementation(() => {});
});
afterAll(() => vi.restoreAllMocks());

const ONE_AT_ONCE = { requests_per_minute: null, tokens_per_minute: null, concurrent_requests: 1 };

/** The only key of a new tenant. */
async function freshKey(admin: AdminClient, name: string, policy: Policy): Promise<string> {
  await admin.apply(name, { policy, keys: [] });
  return (await admin.createKey(name, { label: "test" })).key;
}

/** Runs a file of tests. @throws Error with pytest's words when one fails */
async function pytest(file: string, variables: Readonly<Record<string, string>>): Promise<void> {
  const args = ["-m", "pytest", "-q", "-p", "no:cacheprovider", join(import.meta.dirname, file)];
  const env = { ...process.env, ...variables, PYTHONDONTWRITEBYTECODE: "1" };
  const run = promisify(execFile)(PYTHON, args, { cwd: REPOSITORY, env });
  const { stdout } = await run.catch((error: { stdout: string; stderr: string }) => {
    throw new Error(`${error.stdout}\n${error.stderr}`);
  });
  expect(stdout).toMatch(/^\d+ passed/m);
}

test.skipIf(missing)(
  "openai_python.py and openai_python_budget.py pass",
  async () => {
    const server = await startServer();
    try {
      await pytest("openai_python.py", { SORTIE_URL: server.url, SORTIE_KEY: DEMO_KEY });
      const admin = adminClient(server.url, ADMIN_TOKEN);
      await pytest("openai_python_budget.py", {
        SORTIE_URL: server.url,
        SORTIE_BROKE_KEY: await freshKey(admin, "broke", budgetOf(1)),
        SORTIE_NARROW_KEY: await freshKey(admin, "narrow", { ...UNLIMITED, rates: ONE_AT_ONCE }),
      });
    } finally {
      await server.stop();
    }
  },
  TIMEOUT_MS,
);

test.skipIf(missing)("openai_python_failures.py passes", async () => {
  const server = await startFailingServer();
  try {
    const variables = { SORTIE_URL: server.url, SORTIE_KEY: KEY, SORTIE_RETRY_AFTER: String(RETRY_AFTER_SECONDS) };
    await pytest("openai_python_failures.py", variables);
  } finally {
    await server.stop();
  }
});
