/** `/admin/v1/route`: what the router would do, and what it does. */
import { type Context, Hono } from "hono";
import { toMessage } from "../api/chat-request.ts";
import { toNarrowing } from "../api/fields.ts";
import { readBody } from "../api/json-body.ts";
import { explainSchema, type DriftBody, type ExplanationBody } from "../api/route-schemas.ts";
import { explain, type Explanation } from "../explain.ts";
import { rangeName } from "../policy/targets.ts";
import type { Caller } from "../tenant/api.ts";
import { NO_KEY_LIMITS } from "../tenant/policy.ts";
import { DEFAULT_PRICES } from "../tenant/pricing.ts";
import { summed } from "../telemetry/counters.ts";
import { drift, type Expected } from "../telemetry/drift.ts";
import { noTenant } from "./admin.ts";
import type { AppEnv, Flow } from "./context.ts";
import { trafficOf } from "./traffic.ts";

export function routeAdmin(flow: Flow): Hono<AppEnv> {
  return new Hono<AppEnv>()
    .get("/drift", async (c) => c.json(await driftBody(c, flow)))
    .post("/explain", async (c) => {
      const body = await readBody(c.req.raw, explainSchema);
      const deps = await flow.chatDeps(c.env, c.req.raw);
      const caller = await callerOf(c, flow, body.tenant ?? null);
      const request = { model: body.model, narrowing: toNarrowing(body) };
      return c.json(explanationBody(explain(deps, caller, request, body.messages.map(toMessage))));
    });
}

async function driftBody(c: Context<AppEnv>, flow: Flow): Promise<DriftBody> {
  const { hours, from, to } = await trafficOf(c);
  const { bundle, router } = (await flow.chatDeps(c.env, c.req.raw)).catalogue;
  const counts = summed(hours.flatMap((hour) => hour.counts)).filter(({ name }) => name === "cascades");
  const expectedOf = (range: string, quality: number): Expected | null => {
    const cascade = router?.cascades.find((one) => rangeName(one) === range);
    return cascade?.targets.find((target) => target.quality === quality)?.expected ?? null;
  };
  const data = drift(counts, bundle.fingerprint, expectedOf).map(({ gates, exits, ...one }) => ({
    ...one,
    gates: [...gates],
    exits: [...exits],
  }));
  return {
    object: "route.drift",
    from: new Date(from).toISOString(),
    to: new Date(to).toISOString(),
    fingerprint: bundle.fingerprint,
    data,
  };
}

/** Somebody of a tenant, or somebody whom nothing narrows. @throws ApiError 404 */
async function callerOf(c: Context<AppEnv>, { tenants }: Flow, name: string | null): Promise<Caller> {
  const anybody = { tenant: name ?? "", keyId: "", limits: NO_KEY_LIMITS, cacheEpoch: 0 };
  if (name === null) return { ...anybody, policy: { exits: null, prices: DEFAULT_PRICES } };
  const all = tenants(c.env);
  const view = (await all.directory.has(name)) ? await all.tenant(name).describe() : null;
  if (view === null) throw noTenant(name);
  return { ...anybody, policy: view.policy };
}

function explanationBody({ decision, circumstances, target, scores }: Explanation): ExplanationBody {
  const { exit, tier, reason, later } = decision;
  const { exits, edgeExits, edge, origin } = circumstances;
  return {
    exit,
    tier,
    reason,
    exits: [...exits],
    edge_exits: [...edgeExits],
    edge,
    origin,
    target,
    later_gates: later && {
      ladder: later.ladder.map((rung) => rung.exit),
      prefill_to: later.prefillTo,
      decode_to: later.decodeTo,
    },
    scores: scores.map(({ features, ...score }) => ({ ...score, features: [...features] })),
  };
}
