/** Weights in R2 in place of static assets: the built Worker in workerd, with its own R2. */
import { readFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { edgeWeights, writeAssets } from "../../scripts/upload/weights.ts";
import { openBundle, weightsKey, type BundleFile } from "../../src/model/bundle.ts";
import { folderSource } from "../../src/model/node-source.ts";
import { buildGateway, newTenant, post, startGateway, type Gateway } from "./support/gateway.ts";

const BUNDLE = "build/bundle";
const EXITS = [3, 6];

let folder: string;
let weights: BundleFile[];
let gateway: Gateway;
let modules: Awaited<ReturnType<typeof buildGateway>>;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "model-in-r2-"));
  const bundle = await openBundle(folderSource(BUNDLE));
  weights = edgeWeights(bundle, EXITS);
  writeAssets(BUNDLE, join(folder, "assets"), bundle);
  modules = await buildGateway();
  gateway = await start();
});
afterAll(async () => {
  await gateway?.kill();
  await rm(folder, { recursive: true, force: true });
});

const start = () =>
  startGateway(modules, { state: join(folder, "state"), assets: join(folder, "assets"), originUrl: "" });

const ask = (key: string, exit: number) =>
  post(`${gateway.url}/v1/chat/completions`, key, {
    model: `tiny:exit-${exit}`,
    temperature: 0,
    messages: [{ role: "user", content: "how do you say dog in spanish" }],
  });

test("a damaged object is not served; the right ones answer as static assets do", async () => {
  const key = await newTenant(gateway, "acme", 1e9);
  const bucket = await gateway.model();
  for (const { path, sha256 } of weights) await bucket.put(weightsKey(sha256), readFileSync(join(BUNDLE, path)));
  const first = weights[0]!;
  const damaged = readFileSync(join(BUNDLE, first.path));
  damaged[1000]! ^= 1;
  await bucket.put(weightsKey(first.sha256), damaged);
  expect((await ask(key, 3)).status).toBe(503);

  await bucket.put(weightsKey(first.sha256), readFileSync(join(BUNDLE, first.path)));
  await gateway.kill(); // a shard that did not load rests for seconds
  gateway = await start();
  for (const exit of EXITS) {
    const response = await ask(key, exit);
    expect(response.status).toBe(200);
    expect(response.headers.get("x-sortie-tier")).toBe("edge");
    expect(JSON.stringify(await response.json())).toContain('"content":"perro"');
  }
});
