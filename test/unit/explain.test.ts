/** `POST /admin/v1/route/explain`: what would be decided, for whom, and why. */
import { describe, expect, test } from "vitest";
import type { TenantView } from "../../src/tenant/api.ts";
import { explanationSchema } from "../../src/api/route-schemas.ts";
import { ADMIN_TOKEN, ENV, scriptedApp } from "./api-flow.ts";
import { scripted } from "./chat-tiers.ts";

const view = { name: "acme", policy: { exits: null, max_exit: 6, quality: 0.97 } } as unknown as TenantView;
const tenants = {
  directory: { has: async (name: string) => name === "acme" },
  tenant: () => ({ describe: async () => view }),
} as never;

async function explain(body: unknown, hard = true) {
  const { app } = scriptedApp({ deps: scripted({ hard }).deps, tenants });
  const response = await app.request(
    "/admin/v1/route/explain",
    {
      method: "POST",
      headers: { authorization: `Bearer ${ADMIN_TOKEN}`, "content-type": "application/json" },
      body: JSON.stringify(body),
    },
    ENV,
  );
  return { status: response.status, body: (await response.json()) as Record<string, unknown> };
}
const messages = [{ role: "user", content: "What is 2 + 2?" }];

describe("explain", () => {
  test("tells the verdict, what may change it, and what moved the scores", async () => {
    const { status, body } = await explain({ model: "tiny", messages });
    expect(status).toBe(200);
    const { scores, ...rest } = explanationSchema.parse(body);
    expect(rest).toMatchObject({
      exit: 3,
      tier: "edge",
      exits: [3, 6, 12],
      edge: "ready",
      origin: "ready",
      later_gates: { ladder: [3, 6], prefill_to: 12, decode_to: 12 },
    });
    expect(rest.reason).toMatch(/^gate=prompt; score=1.000; threshold=0.500; quality=1; range=3-12; reason=easy$/);
    expect(scores.map(({ exit }) => exit)).toEqual([3, 6, 12]);
  });
  test("a tenant's policy and the request's own limits hold", async () => {
    const { body } = await explain({ model: "tiny", messages, tenant: "acme", sortie: { min_exit: 6 } });
    expect(body).toMatchObject({ exit: 6, exits: [6], later_gates: null, reason: "gate=none; reason=only-exit" });
  });
  test("without calibration it says so", async () => {
    const { body } = await explain({ model: "tiny", messages }, false);
    expect(body).toMatchObject({ exit: 12, reason: "gate=none; reason=uncalibrated", target: null, scores: [] });
  });
  test.each([
    ["an unknown tenant", { model: "tiny", messages, tenant: "other" }, 404, "tenant_not_found"],
    ["an unknown model", { model: "gpt-4", messages }, 404, "model_not_found"],
    ["limits that leave no exit", { model: "tiny", messages, sortie: { max_exit: 2 } }, 400, "no_exit_left"],
    ["no message", { model: "tiny", messages: [] }, 400, null],
  ])("%s: refused", async (_, asked, status, code) => {
    const answer = await explain(asked);
    expect(answer.status).toBe(status);
    if (code !== null) expect(answer.body).toMatchObject({ error: { code } });
  });
});
