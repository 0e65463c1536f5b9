/** What is left when the engine's thread dies under the embedded origin: an error for every reader, and an end. */
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { createOriginClient } from "../../src/origin/client.ts";
import { BUNDLE, greedy, OriginUnderTest } from "./origin-harness.ts";

const missing = !existsSync(join(BUNDLE, "bundle.json"));
if (missing) console.log(`skipped: no bundle in ${BUNDLE}; \`npm run build\` makes one`);

/** Loaded before the server, in each of its threads: SIGUSR2 ends all but the first. */
const ASSASSIN = `
import { isMainThread } from "node:worker_threads";
const order = new BroadcastChannel("end-all-threads");
order.unref();
if (isMainThread) process.on("SIGUSR2", () => order.postMessage(null));
else order.onmessage = () => process.exit(1);
`;

describe.skipIf(missing)("an engine that dies", () => {
  it("ends its answers with an error and the process with 1", async () => {
    const directory = mkdtempSync(join(tmpdir(), "sortie-"));
    writeFileSync(join(directory, "assassin.mjs"), ASSASSIN);
    const origin = await OriginUnderTest.startEmbedded(["--import", join(directory, "assassin.mjs")]);
    try {
      const client = createOriginClient({ url: origin.url, secret: origin.secret });
      const { exits, context_length } = await client.info();
      const exited = new Promise((resolve) => origin.process?.once("exit", resolve));
      const request = greedy({ exit_layer: exits.at(-1)!, max_tokens: context_length - 1 });
      const reading = (async () => {
        for await (const _ of await client.generate(request, null)) origin.process?.kill("SIGUSR2");
      })();
      await expect(reading).rejects.toMatchObject({ kind: "interrupted", code: "origin_failed" });
      expect(await exited).toBe(1);
    } finally {
      await origin.stop();
      rmSync(directory, { recursive: true });
    }
  });
});
