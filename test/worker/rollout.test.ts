/**
 * A new checkpoint over an old one's storage, and back: the built Worker in workerd. The new one is deployed without weights,
 * which lie in R2 (`npx sortie upload`); the origin stays the old one's.
 */
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { z } from "zod";
import { exportBundle } from "../../scripts/export/bundle.ts";
import { ESCALATED_PROMPT } from "../../scripts/trace/tree.ts";
import { edgeWeights, writeAssets } from "../../scripts/upload/weights.ts";
import { CHECKPOINT_HEADER, GENERATE_PATH } from "../../src/edge/exit-protocol.ts";
import type { EdgeJob } from "../../src/edge/job.ts";
import { GREEDY, type GenerationRequest } from "../../src/generation.ts";
import { weightsKey, type Bundle } from "../../src/model/bundle.ts";
import { OriginUnderTest } from "../contract/origin-harness.ts";
import { buildGateway, newTenant, post, startGateway, type Gateway } from "./support/gateway.ts";

const answerSchema = z.object({
  system_fingerprint: z.string(),
  usage: z.object({ prompt_tokens_details: z.object({ cached_tokens: z.number() }) }),
});

let folder: string;
let newBundle: Bundle;
let modules: Awaited<ReturnType<typeof buildGateway>>;
let gateway: Gateway;
let origin: OriginUnderTest;
let key: string;

/** Ends the deployment and starts another over its storage. @param assets undefined: the old checkpoint's whole bundle */
async function deploy(assets: string | undefined): Promise<void> {
  await gateway?.kill();
  gateway = await startGateway(modules, {
    state: join(folder, "state"),
    originUrl: origin.url,
    originSecret: origin.secret,
    ...(assets !== undefined && { assets }),
  });
}

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "sortie-rollout-"));
  const checkpoint = join(folder, "tiny"); // a model is named as its folder
  cpSync("models/tiny", checkpoint, { recursive: true });
  const config = JSON.parse(readFileSync(join(checkpoint, "config.json"), "utf8"));
  writeFileSync(join(checkpoint, "config.json"), JSON.stringify({ ...config, rms_norm_eps: 2e-5 }));
  newBundle = await exportBundle({ checkpoint, out: join(folder, "new"), numerics: "w8a8" });
  writeAssets(join(folder, "new"), join(folder, "assets"), newBundle);
  origin = await OriginUnderTest.startEmbedded();
  modules = await buildGateway();
  await deploy(undefined);
  key = await newTenant(gateway, "acme", 1e12);
});
afterAll(async () => {
  await gateway?.kill();
  await origin?.stop();
  rmSync(folder, { recursive: true, force: true });
});

const upload = async (change: (path: string, bytes: Buffer) => void): Promise<void> => {
  const bucket = await gateway.model();
  for (const { path, sha256 } of edgeWeights(newBundle, [3, 6])) {
    const bytes = readFileSync(join(folder, "new", path));
    change(path, bytes);
    await bucket.put(weightsKey(sha256), bytes);
  }
};

/** A conversation of 170 tokens of no meaning. */
const CONVERSATION = [1, ...Array.from({ length: 169 }, (_, at) => 100 + ((at * 31) % 900))];

async function goOn() {
  const body = { model: "tiny:exit-3", prompt: CONVERSATION, temperature: 0, max_tokens: 4 };
  const response = await post(`${gateway.url}/v1/completions`, key, body);
  expect(response.status).toBe(200);
  const { system_fingerprint: fingerprint, usage } = answerSchema.parse(await response.json());
  const { cached_tokens: cached } = usage.prompt_tokens_details;
  return { fingerprint, cached, answer: response.headers.get("x-sortie-cache") };
}

/** What a shard answers to a job for a checkpoint. */
async function atShard(fingerprint: string): Promise<number> {
  const request: GenerationRequest = {
    request_id: "r",
    token_ids: [1, 2, 3],
    answer_tokens: 0,
    exit_layer: 3,
    max_tokens: 1,
    sampling: GREEDY,
    top_logprobs: 0,
    stop_token_ids: [],
  };
  const shard = await gateway.shard("any");
  const headers = { [CHECKPOINT_HEADER]: fingerprint };
  const body = JSON.stringify({ request, gates: null } satisfies EdgeJob);
  const response = await shard.fetch(`https://shard.local${GENERATE_PATH}`, { method: "POST", headers, body });
  await response.text();
  return response.status;
}

const ask = (model: string) =>
  post(`${gateway.url}/v1/chat/completions`, key, { model, messages: [{ role: "user", content: ESCALATED_PROMPT }] });

test("conversations are read anew under a new checkpoint, never answered from another's, and found again after a rollback", async () => {
  const before = await goOn();
  expect(before).toMatchObject({ cached: 0, answer: "miss" });
  expect(await goOn()).toEqual({ ...before, cached: CONVERSATION.length, answer: "hit" });

  await upload((path, bytes) => path === "rim.0.bin" && (bytes[1000]! ^= 1));
  await deploy(join(folder, "assets"));
  expect((await ask("tiny:exit-3")).status).toBe(503); // a damaged object is no weight

  await upload(() => undefined);
  await deploy(join(folder, "assets"));
  expect(await goOn()).toEqual({ fingerprint: newBundle.fingerprint, cached: 0, answer: "miss" });
  expect(newBundle.fingerprint).not.toBe(before.fingerprint);
  // The origin has the old checkpoint: it refuses, and an exit that was named is not replaced.
  expect((await ask("tiny:exit-12")).status).toBe(503);
  const degraded = await ask("tiny");
  expect(degraded.headers.get("x-sortie-route")).toContain("degraded; origin=refused");
  expect(degraded.headers.get("x-sortie-tier")).toBe("edge");

  expect(await atShard(newBundle.fingerprint)).toBe(200);
  expect(await atShard(before.fingerprint)).toBe(503); // a shard that outlives its deployment

  await deploy(undefined);
  expect(await goOn()).toEqual({ ...before, cached: CONVERSATION.length, answer: "hit" });
  expect((await ask("tiny:exit-12")).status).toBe(200);
});
