import { join } from "node:path";
import { defineConfig } from "vitest/config";

/** Projects whose files leave a core to others. */
const AT_ONCE = new Set(["unit", "golden"]);

/** Milliseconds that a test waits for what comes in the background; vitest's own second is short on a busy machine. */
const POLL_TIMEOUT = 15_000;

/**
 * One project a folder of test/. `unit` needs nothing built; the others need `npm run build` first.
 * Files that start servers run one after another: the machines that run this have two cores, and a server takes both.
 * The others run two at once (vitest's own choice on two cores is one).
 */
const project = (name: string, timeout: number) => ({
  // Only the runtime has it; tests that need the runtime itself start it.
  resolve: {
    alias: { "cloudflare:workers": join(import.meta.dirname, "test/contract/support/cloudflare-workers.ts") },
  },
  test: {
    name,
    include: [`test/${name}/**/*.test.ts`],
    testTimeout: timeout,
    hookTimeout: timeout,
    expect: { poll: { timeout: POLL_TIMEOUT } },
    maxWorkers: AT_ONCE.has(name) ? 2 : 1,
    sequence: { groupOrder: AT_ONCE.has(name) ? 0 : 1 }, // such groups may not mix
  },
});

export default defineConfig({
  test: {
    projects: [
      project("unit", 30_000),
      project("worker", 120_000),
      project("contract", 120_000),
      project("golden", 600_000),
      project("e2e", 120_000),
    ],
  },
});
