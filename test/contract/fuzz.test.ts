/**
 * The HTTP surface against its own published document: no answer is a 5xx, holds a stack trace or a secret, or is not
 * as documented, whatever is asked.
 */
import fc from "fast-check";
import { beforeAll, expect, test, vi } from "vitest";
import { build } from "../../scripts/build.ts";
import { createApp } from "../../src/app.ts";
import { createResponseClient } from "../../src/cache/response-client.ts";
import { readCatalogue } from "../../src/catalogue.ts";
import { chat } from "../../src/chat.ts";
import type { ChatDeps } from "../../src/chat-deps.ts";
import { edgeJobSchema, type EdgeEvent } from "../../src/edge/job.ts";
import { settings } from "../../src/env.ts";
import { generationRequestSchema, type GenerationRequest, type TokenEvent } from "../../src/generation.ts";
import { folderSource } from "../../src/model/node-source.ts";
import { uniform } from "../../src/model/sampler.ts";
import { modelIds } from "../../src/policy/selection.ts";
import { createTenants, type TenantNamespaces } from "../../src/tenant/client.ts";
import { sha256 } from "../../src/tenant/keys.ts";
import { NO_KEY_LIMITS } from "../../src/tenant/policy.ts";
import { TierHealth } from "../../src/tier-health.ts";
import { Turns } from "../../src/turns.ts";
import { ADMIN_TOKEN, ENV, KEY } from "../unit/api-flow.ts";
import { UNLIMITED } from "../unit/memory-payer.ts";
import { createOracle } from "./support/fuzz-oracle.ts";
import type { ApiDocument, FuzzSpace } from "./support/fuzz-operations.ts";
import { fuzzRequests } from "./support/fuzz-requests.ts";
import { memoryNamespaces } from "./support/memory-objects.ts";
import { DEMO_KEY, startServer } from "./support/server.ts";

/** The count is for a run of seconds; `FUZZ_REQUESTS=100000` looks longer. */
const REQUESTS = Number(process.env["FUZZ_REQUESTS"] ?? 5_000);
/** A minute and a half on two busy cores; each refused key waits for 0.1 s. */
const TIMEOUT_MS = REQUESTS * 100;
/** Requests to the real runtime with the real model. */
const RUNTIME_REQUESTS = 300;
const PENALTIES = ["presence_penalty", "frequency_penalty", "repetition_penalty"];
const CANARY = "a-canary-in-the-prompt";
const SECRET = "the-secret-between-worker-and-origin";
const MODEL = { name: "tiny", exits: [3, 6, 9, 12] };
/** A tenant that may be changed and closed at will; the key that asks is another's. */
const VICTIM = "acme";

const KNOWN = {
  models: modelIds(MODEL),
  parts: { name: [VICTIM], id: modelIds(MODEL) },
  canary: CANARY,
} satisfies Partial<FuzzSpace>;

beforeAll(() => build());

/** Tokens that depend on the seed alone, from the whole vocabulary: pieces of characters and control tokens too. */
async function* anyTokens(request: GenerationRequest, vocabulary: number): AsyncGenerator<TokenEvent, void> {
  const { sampling, exit_layer: exit, top_logprobs: top, token_ids } = generationRequestSchema.parse(request);
  const count = Math.min(request.max_tokens, Math.floor(uniform(sampling.seed, 0) * 6));
  const idAt = (place: number) => Math.floor(uniform(sampling.seed, place) * vocabulary);
  for (let at = 1; at <= count; at++) {
    const best = Array.from({ length: top }, (_, rank) => ({ id: idAt(at * 100 + rank), logprob: -rank }));
    yield { type: "token", id: idAt(at), logprob: -0.5, exit, ...(top > 0 && { top_logprobs: best }) };
  }
  const usage = { prompt_tokens: token_ids.length, cached_tokens: 0, completion_tokens_by_exit: { [exit]: count } };
  yield { type: "end", finish_reason: "stop", usage, timings: { queue_ms: 0, prefill_ms: 0, decode_ms: 0 } };
}

/** The real objects of two tenants. */
async function tenantsInMemory(namespaces: TenantNamespaces) {
  const tenants = createTenants(namespaces);
  const key = { secretSha256: await sha256("local"), label: "fuzz", limits: NO_KEY_LIMITS, expiresAt: null };
  const budgets = [{ name: "all", period: "none" as const, limit_micro_usd: 1e12, soft_limits: [] }];
  for (const [name, keys] of [
    ["demo", [key]],
    [VICTIM, []],
  ] as const) {
    await tenants.tenant(name).apply(name, { policy: { ...UNLIMITED, budgets }, keys });
    await tenants.directory.add(name);
  }
  return tenants;
}

/** The real app, flow, ledger, tokenizer, template and router; only the tiers make their tokens up. */
async function appWithoutEngine() {
  const catalogue = await readCatalogue(folderSource("build/bundle"));
  const vocabulary = catalogue.bundle.shape.vocab_size;
  async function* edgeEvents(job: unknown): AsyncGenerator<EdgeEvent, void> {
    const { request, gates } = edgeJobSchema.parse(job);
    if (gates) yield { type: "verdict", exit: request.exit_layer, handoff: null, reason: "gate=prefill; reason=easy" };
    yield* anyTokens(request, vocabulary);
  }
  const namespaces = memoryNamespaces();
  const turns = new Turns();
  const env = { ...ENV, ...namespaces, ORIGIN_URL: "http://127.0.0.1:1", ORIGIN_SECRET: SECRET };
  const deps = {
    settings: settings(env),
    catalogue,
    health: new TierHealth(),
    edge: {
      run: async (job: unknown) => ({ ok: true, events: edgeEvents(job) }),
      stored: async () => null,
      status: async () => ({ loaded: true, exits: [3, 6], active: 0, waiting: 0, decoded_tokens: 0 }),
    },
    origin: {
      generate: async (request: GenerationRequest) => anyTokens(request, vocabulary),
      info: async () => ({ fingerprint: catalogue.bundle.fingerprint }),
    },
    responses: createResponseClient({ namespace: namespaces.RESPONSES, ttlMs: 1000 }),
    turns,
  } as unknown as ChatDeps;
  const tenants = await tenantsInMemory(namespaces);
  const app = createApp({ chat, chatDeps: async () => deps, tenants: () => tenants, turns });
  const context = { waitUntil: () => undefined, passThroughOnException: () => undefined, props: {} };
  return { tenants, ask: async (path: string, init: RequestInit) => app.request(path, init, env, context) };
}

/** Requests by status, for the reader of the test's output. */
function tally(statuses: readonly number[]): string {
  const counts = new Map<number, number>();
  for (const status of statuses) counts.set(status, (counts.get(status) ?? 0) + 1);
  return [...counts]
    .toSorted(([a], [b]) => a - b)
    .map(([status, count]) => `${status}: ${count}`)
    .join(", ");
}

test(
  `${REQUESTS} requests in process`,
  async () => {
    const lines: string[] = [];
    const spies = (["info", "warn", "error"] as const).map((level) =>
      vi.spyOn(console, level).mockImplementation((line: string) => void lines.push(line)),
    );
    const { ask, tenants } = await appWithoutEngine();
    const document = (await (await ask("/openapi.json", {})).json()) as ApiDocument;
    const oracle = createOracle(document, [KEY, SECRET, ADMIN_TOKEN]);
    const statuses: number[] = [];
    try {
      const bearers = { key: KEY, admin: ADMIN_TOKEN };
      const requests = fuzzRequests({ document, bearers, ...KNOWN });
      const property = fc.asyncProperty(requests, async ({ path, ...init }) => {
        lines.length = 0;
        statuses.push(await oracle.check({ path, ...init }, await ask(path, init)));
        const logged = lines.join("\n");
        for (const secret of [KEY, SECRET, ADMIN_TOKEN, CANARY]) expect(logged).not.toContain(secret);
        expect(logged).not.toContain('"level":"error"');
      });
      await fc.assert(property, { numRuns: REQUESTS });
    } finally {
      for (const spy of spies) spy.mockRestore();
    }
    console.log(`in process: ${statuses.length} requests, ${tally(statuses)}`);
    expect(statuses.length).toBeGreaterThanOrEqual(REQUESTS);
    for (const status of [200, 201, 400, 401, 404, 405, 413, 415, 431]) expect(statuses).toContain(status);
    expect(statuses.filter((status) => status === 200).length).toBeGreaterThan(REQUESTS / 10);
    const budget = (await tenants.tenant("demo").usage(0, Date.now()))?.budgets[0];
    expect(budget).toMatchObject({ held: 0 });
    expect(budget?.spent).toBeGreaterThan(0);
  },
  TIMEOUT_MS,
);

test(`${RUNTIME_REQUESTS} requests to the runtime`, async () => {
  const server = await startServer();
  try {
    const document = (await (await fetch(`${server.url}/openapi.json`)).json()) as ApiDocument;
    const admin = ADMIN_TOKEN; // the same in both
    const oracle = createOracle(document, [admin]); // the key is the playground's visitors', who are told it
    const statuses: number[] = [];
    // Short, and ended by the model soon even where a change to the body takes the limit away.
    const always = {
      max_tokens: fc.integer({ min: 1, max: 3 }),
      n: fc.integer({ min: 1, max: 2 }),
      temperature: fc.constant(0),
      ...Object.fromEntries(PENALTIES.map((name) => [name, fc.constant(null)])),
    };
    const requests = fuzzRequests({ document, bearers: { key: DEMO_KEY, admin }, ...KNOWN, always });
    const property = fc.asyncProperty(requests, async ({ path, ...init }) => {
      statuses.push(await oracle.check({ path, ...init }, await fetch(`${server.url}${path}`, init)));
    });
    await fc.assert(property, { numRuns: RUNTIME_REQUESTS });
    console.log(`runtime: ${statuses.length} requests, ${tally(statuses)}`);
    expect(statuses).toContain(200);
    const logged = server.events().map((event) => JSON.stringify(event));
    expect(logged.length).toBeGreaterThan(RUNTIME_REQUESTS / 2);
    for (const secret of [DEMO_KEY, admin, CANARY]) expect(logged.join("\n")).not.toContain(secret);
  } finally {
    await server.stop();
  }
});
