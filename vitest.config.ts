import { join } from "node:path";
import { defineConfig } from "vitest/config";

/**
 * One project a folder of test/. `unit` needs nothing built; the others need `npm run build` first.
 * Files that start servers run one after another: the machines that run this have two cores, and a server takes both.
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
    fileParallelism: name === "unit" || name === "golden",
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
