/** A hard verdict after the edge's prefill: the origin resumes what the Worker computed, and the answer is the same. */
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { z } from "zod";
import { build } from "../../scripts/build.ts";
import { readRows } from "../../scripts/calibrate/rows.ts";
import { adminClient } from "../../scripts/tenants/admin-client.ts";
import { routerSchema } from "../../src/policy/router.ts";
import { flatPolicy } from "../worker/support/gateway.ts";
import { ADMIN_TOKEN, DEMO_KEY, startServer, type RunningServer } from "./support/server.ts";

const ROWS = 40;
/** Of 40 answers: near-ties may flip; the golden tests bound their rate by token. */
const MAX_DIFFERENT = 3;

let server: RunningServer;
/** Of a tenant whose prompts no cache has seen when they are asked again. */
let other: string;
/** Holds a copy of the checkpoint whose gate 2 finds every prompt hard. */
let folder: string;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "sortie-handoff-"));
  const checkpoint = join(folder, "tiny"); // a model is named as its folder
  cpSync("models/tiny", checkpoint, { recursive: true });
  const path = join(checkpoint, "router.json");
  const router = routerSchema.parse(JSON.parse(readFileSync(path, "utf8")));
  const cascades = router.cascades.map(({ targets, ...range }) => ({
    ...range,
    targets: targets.map((target) => ({ ...target, thresholds: { ...target.thresholds, prompt: 0, prefill: 1 } })),
  }));
  writeFileSync(path, JSON.stringify({ ...router, cascades }));
  server = await startServer({ CHECKPOINT: checkpoint, HANDOFFS: "always" }); // reading anew may be the cheaper
  const admin = adminClient(server.url, ADMIN_TOKEN);
  await admin.apply("umbrella", { policy: flatPolicy(1e12), keys: [] });
  other = (await admin.createKey("umbrella", { label: "test" })).key;
});
afterAll(async () => {
  await server?.stop();
  rmSync(folder, { recursive: true, force: true });
  await build(); // the bundle that other tests find
});

const answerSchema = z.object({
  choices: z.array(z.object({ message: z.object({ content: z.string() }) })),
  usage: z.object({ prompt_tokens: z.number(), prompt_tokens_details: z.object({ cached_tokens: z.number() }) }),
});

async function ask(model: string, messages: unknown, key = DEMO_KEY) {
  const response = await fetch(`${server.url}/v1/chat/completions`, {
    method: "POST",
    headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
    body: JSON.stringify({ model, messages, temperature: 0 }),
  });
  expect(response.status).toBe(200);
  const { choices, usage } = answerSchema.parse(await response.json());
  return { text: choices[0]?.message.content, usage, headers: response.headers };
}

test("what the edge read is not read again, and the answer is the exit's own", async () => {
  let [handedOff, different] = [0, 0];
  for (const row of readRows("models/tiny/test.jsonl").slice(0, ROWS)) {
    const messages = row.prompt;
    const routed = await ask("tiny", messages);
    expect(routed.headers.get("x-sortie-tier")).toBe("origin");
    if (routed.headers.get("x-sortie-route")?.includes("gate=prefill") !== true) continue;
    handedOff += 1;
    const { handoff_positions: positions } = await server.logged("generate", routed.headers.get("x-request-id") ?? "");
    expect(positions).toBe(routed.usage.prompt_tokens);
    expect(routed.usage.prompt_tokens_details.cached_tokens).toBe(0); // it was read, for this very request
    const fixed = await ask(`tiny:exit-${routed.headers.get("x-sortie-exit")}`, messages, other);
    expect(fixed.usage.prompt_tokens_details.cached_tokens).toBe(0);
    if (fixed.text !== routed.text) different += 1;
  }
  console.log(`handed off ${handedOff} of ${ROWS}; answers that differ: ${different}`);
  expect(handedOff).toBeGreaterThan(ROWS / 2);
  expect(different).toBeLessThanOrEqual(MAX_DIFFERENT);
});
