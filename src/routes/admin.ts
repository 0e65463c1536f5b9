/** `/admin/v1`: tenants, their keys and their usage, for the operator. */
import { type Context, Hono } from "hono";
import {
  type Declaration,
  declarationSchema,
  newKeySchema,
  newLimitSchema,
  type TenantBody,
} from "../api/admin-schemas.ts";
import { readBody } from "../api/json-body.ts";
import { BlockArchive } from "../cache/block-archive.ts";
import { createResponseClient } from "../cache/response-client.ts";
import { settings } from "../env.ts";
import { ApiError } from "../errors.ts";
import { formatUsd } from "../money.ts";
import type { DeclaredKey } from "../tenant/key-store.ts";
import { formatKey } from "../tenant/keys.ts";
import { TENANT_NAME } from "../tenant/policy.ts";
import { declarationFaults, keyFaults, type Fault } from "../tenant/policy-faults.ts";
import { budgetView } from "../tenant/refusal-error.ts";
import type { ApplyAnswer, KeyView, NewKeyAnswer, TenantView } from "../tenant/api.ts";
import type { AppEnv, Flow } from "./context.ts";
import { daysAsked, usageResponse } from "./usage-report.ts";

export function admin(flow: Flow): Hono<AppEnv> {
  const { tenants } = flow;
  return new Hono<AppEnv>()
    .get("/tenants", async (c) => {
      const names = await tenants(c.env).directory.list();
      return c.json({ data: names.map((name) => ({ name })) });
    })
    .get("/tenants/:name", async (c) => {
      const name = nameOf(c);
      const view = (await known(c, name)) ? await tenants(c.env).tenant(name).describe() : null;
      if (view === null) throw noTenant(name);
      return c.json(tenantBody(view));
    })
    .put("/tenants/:name", async (c) => {
      const name = nameOf(c);
      const { policy, keys } = await readBody(c.req.raw, declarationSchema);
      refuse(declarationFaults({ policy, keys }, await exitsOf(c)));
      const applied = await tenants(c.env)
        .tenant(name)
        .apply(name, { policy, keys: keys.map(declaredKey) });
      if (!applied.ok) throw refused(applied.reason, name);
      await tenants(c.env).directory.add(name); // last: a name in the directory has its tables
      return c.json({ name, changed: applied.changed, revoked_keys: [...applied.revokedKeys] });
    })
    .delete("/tenants/:name", async (c) => {
      const name = nameOf(c);
      if (!(await known(c, name))) throw noTenant(name);
      return c.json({ name, closed: await tenants(c.env).tenant(name).close() });
    })
    .put("/tenants/:name/budgets/:budget", async (c) => {
      const name = nameOf(c);
      const budget = c.req.param("budget");
      const { limit_micro_usd: limit } = await readBody(c.req.raw, newLimitSchema);
      const set = (await known(c, name)) && (await tenants(c.env).tenant(name).setLimit(budget, limit));
      if (!set) throw notFound(`The tenant '${name}' has no budget '${budget}'.`, "budget_not_found");
      return c.json({ budget, limit_usd: formatUsd(limit) });
    })
    .delete("/tenants/:name/cache", async (c) => {
      const name = nameOf(c);
      const epoch = (await known(c, name)) ? await tenants(c.env).tenant(name).purgeCache() : null;
      if (epoch === null) throw noTenant(name);
      // From here on nothing of it is found; what follows frees the room.
      const responses = createResponseClient({ namespace: c.env.RESPONSES, ttlMs: settings(c.env).responseTtlMs });
      const { BLOCKS: bucket } = c.env;
      const archive = bucket && new BlockArchive({ bucket, ttlMs: 0, onFailure: () => undefined });
      const objects = (await archive?.purge(name)) ?? 0;
      return c.json({ name, epoch, answers: await responses.purge(name), objects });
    })
    .post("/tenants/:name/keys", async (c) => {
      const name = nameOf(c);
      const body = await readBody(c.req.raw, newKeySchema);
      const view = (await known(c, name)) ? await tenants(c.env).tenant(name).describe() : null;
      if (view === null) throw noTenant(name);
      if (body.limits !== null) refuse(keyFaults(body.limits, view.policy, await exitsOf(c)));
      const { label, limits, replaces, overlap_seconds: overlap } = body;
      const made = await tenants(c.env)
        .tenant(name)
        .createKey({
          label,
          limits,
          expiresAt: body.expires_at === null ? null : Date.parse(body.expires_at),
          replaces: replaces === null ? null : { id: replaces, overlapMs: overlap * 1_000 },
        });
      if (!made.ok) throw refused(made.reason, name);
      return c.json({ id: made.id, key: formatKey({ tenant: name, secret: made.secret }) }, 201);
    })
    .delete("/tenants/:name/keys/:id", async (c) => {
      const name = nameOf(c);
      const id = c.req.param("id");
      const revoked = (await known(c, name)) && (await tenants(c.env).tenant(name).revokeKey(id));
      if (!revoked) throw notFound(`The tenant '${name}' has no key '${id}' that could be revoked.`, "key_not_found");
      return c.json({ id, revoked });
    })
    .get("/tenants/:name/usage", async (c) => {
      const name = nameOf(c);
      const days = daysAsked(c, Date.now());
      const view = (await known(c, name)) ? await tenants(c.env).tenant(name).usage(days.from, days.to) : null;
      if (view === null) throw noTenant(name);
      return usageResponse(c, name, days, view);
    });

  async function exitsOf(c: Context<AppEnv>): Promise<readonly number[]> {
    return (await flow.chatDeps(c.env, c.req.raw)).catalogue.bundle.exits;
  }

  /** Names that were never applied do not wake an object. */
  function known(c: Context<AppEnv>, name: string): Promise<boolean> {
    return tenants(c.env).directory.has(name);
  }
}

/** @throws ApiError 400 naming the first fault, if there is one */
function refuse([fault]: readonly Fault[]): void {
  if (fault === undefined) return;
  const param = fault.path.reduce<string>(
    (text, step) => (typeof step === "number" ? `${text}[${step}]` : text === "" ? step : `${text}.${step}`),
    "",
  );
  throw invalid(`Invalid '${param || "limits"}': ${fault.message}.`, "invalid_exits", param || "limits");
}

function invalid(message: string, code: string, param: string | null): ApiError {
  return new ApiError(message, { status: 400, type: "invalid_request_error", code, param });
}

/** @throws ApiError 404 for what cannot be a name */
function nameOf(c: Context<AppEnv>): string {
  const name = c.req.param("name") ?? "";
  if (!TENANT_NAME.test(name)) throw noTenant(name);
  return name;
}

function declaredKey({ secret_sha256, expires_at, ...key }: Declaration["keys"][number]): DeclaredKey {
  const expiresAt = expires_at === null ? null : Date.parse(expires_at);
  return { ...key, secretSha256: secret_sha256, expiresAt };
}

function tenantBody({ name, closedAt, policy, keys, budgets, holds }: TenantView): TenantBody {
  return {
    name,
    closed_at: instant(closedAt),
    policy,
    keys: keys.map(keyBody),
    budgets: budgets.map(budgetView),
    running_requests: holds,
  };
}

function keyBody(key: KeyView): TenantBody["keys"][number] {
  return {
    id: key.id,
    label: key.label,
    secret_sha256_prefix: key.digestPrefix,
    limits: key.limits,
    declared: key.declared,
    created_at: new Date(key.createdAt).toISOString(),
    expires_at: instant(key.expiresAt),
    revoked_at: instant(key.revokedAt),
  };
}

function instant(at: number | null): string | null {
  return at === null ? null : new Date(at).toISOString();
}

function refused(reason: Extract<NewKeyAnswer | ApplyAnswer, { ok: false }>["reason"], name: string): ApiError {
  switch (reason) {
    case "no_tenant":
      return noTenant(name);
    case "no_such_key":
      return notFound(`The tenant '${name}' has no such valid key to replace.`, "key_not_found");
    case "too_many_keys":
      return invalid(`The tenant '${name}' has too many valid keys: revoke one first.`, "too_many_keys", null);
    case "key_expired":
      return invalid("Invalid 'expires_at': it is past, so nobody could use the key.", "invalid_value", "expires_at");
    default:
      return reason satisfies never;
  }
}

export function noTenant(name: string): ApiError {
  return notFound(`There is no tenant '${name}': apply it first.`, "tenant_not_found");
}

function notFound(message: string, code: string): ApiError {
  return new ApiError(message, { status: 404, type: "invalid_request_error", code });
}
