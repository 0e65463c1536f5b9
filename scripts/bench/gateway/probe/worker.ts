/** What a gateway in this runtime costs at least: routes that do nothing, or one thing. */
import { Hono } from "hono";
import type { ChatRequest } from "../../../../src/conversation.ts";
import { GREEDY } from "../../../../src/generation.ts";
import { reserve } from "../../../../src/payment.ts";
import { createTenants, type TenantNamespaces } from "../../../../src/tenant/client.ts";
import { bearerKey } from "../../../../src/bearer.ts";

interface Env extends TenantNamespaces {
  /** Address of the null upstream. */
  readonly UPSTREAM: string;
}

const ANSWER = { object: "chat.completion", choices: [] };
/** A request as the flow asks the ledger to pay for it, at one fixed exit. */
const PROMPT_IDS = Array.from({ length: 11 }, () => 0);
const MAX_TOKENS = 8;
const EXIT = 12;
const BILL = {
  generations: [{ token_ids: PROMPT_IDS, max_tokens: MAX_TOKENS }],
  exits: [EXIT],
  deepest: EXIT,
  exitFixed: true,
};
const LEASE_MS = 60_000;

export default new Hono<{ Bindings: Env }>()
  .post("/bare", (c) => c.json(ANSWER))
  /** A gateway that only passes on. */
  .post("/relay", async (c) => {
    const body = await c.req.raw.arrayBuffer();
    return fetch(`${c.env.UPSTREAM}/v1/chat/completions`, { method: "POST", body });
  })
  /** Authentication, a reservation and its settlement, called as src/app.ts and src/chat.ts call them. */
  .post("/ledger", async (c) => {
    const tenants = createTenants(c.env);
    const admissionId = crypto.randomUUID();
    const key = bearerKey(c.req.header("authorization")) ?? "";
    const admitted = await tenants.admit(key, { id: admissionId, leaseMs: LEASE_MS });
    if (admitted?.ok !== true) return c.json({ error: "not admitted" }, 401);
    const { caller } = admitted;
    const payer = {
      caller,
      admissionId,
      ledger: tenants.tenant(caller.tenant),
      leaseMs: LEASE_MS,
      waitUntil: (settled: Promise<unknown>) => c.executionCtx.waitUntil(settled),
    };
    const asked: ChatRequest = {
      requestId: crypto.randomUUID(),
      model: "bench",
      prompts: [{ kind: "tokens", ids: PROMPT_IDS }],
      choices: 1,
      maxTokens: MAX_TOKENS,
      sampling: { ...GREEDY, temperature: 1 },
      stop: [],
      narrowing: {},
      earlyExit: null,
      topLogprobs: null,
    };
    const { meter } = await reserve(payer, asked, BILL);
    meter.startReading(0, { exit: EXIT, tier: "origin" });
    await meter.settle();
    return c.json(ANSWER);
  });
