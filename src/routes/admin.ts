/** `/admin/v1`: tenants, their keys and their usage, for the operator. */
import { type Context, Hono, type MiddlewareHandler } from "hono";
import type { z } from "zod";
import { readJson } from "../api/json-body.ts";
import { requestError } from "../api/request-error.ts";
import { LOCAL_ADMIN_TOKEN, settings } from "../env.ts";
import { ApiError } from "../errors.ts";
import type { DeclaredKey } from "../tenant/key-store.ts";
import { bearerKey, formatKey, sameDigest, sha256 } from "../tenant/keys.ts";
import { TENANT_NAME } from "../tenant/policy.ts";
import { budgetView, wrongKey } from "../tenant/refusal-error.ts";
import type { KeyView, NewKeyAnswer, TenantView } from "../tenant/api.ts";
import { type Declaration, declarationSchema, newKeySchema, type TenantBody } from "./admin-schemas.ts";
import type { AppEnv, Flow } from "./context.ts";
import { daysAsked, usageResponse } from "./usage-report.ts";

export function admin({ tenants }: Flow): Hono<AppEnv> {
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
      const { policy, keys } = await bodyOf(c, declarationSchema);
      const changed = await tenants(c.env)
        .tenant(name)
        .apply(name, { policy, keys: keys.map(declaredKey) });
      await tenants(c.env).directory.add(name); // last: a name in the directory has its tables
      return c.json({ name, changed });
    })
    .delete("/tenants/:name", async (c) => {
      const name = nameOf(c);
      if (!(await known(c, name))) throw noTenant(name);
      return c.json({ name, closed: await tenants(c.env).tenant(name).close() });
    })
    .post("/tenants/:name/keys", async (c) => {
      const name = nameOf(c);
      const body = await bodyOf(c, newKeySchema);
      if (!(await known(c, name))) throw noTenant(name);
      const { label, limits, replaces, overlap_seconds: overlap } = body;
      const made = await tenants(c.env)
        .tenant(name)
        .createKey({
          label,
          limits,
          expiresAt: body.expires_at === null ? null : Date.parse(body.expires_at),
          replaces: replaces === null ? null : { id: replaces, overlapMs: overlap * 1_000 },
        });
      if (!made.ok) throw noKey(made.reason, name);
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

  /** Names that were never applied do not wake an object. */
  function known(c: Context<AppEnv>, name: string): Promise<boolean> {
    return tenants(c.env).directory.has(name);
  }
}

const LOCAL_HOSTS: ReadonlySet<string> = new Set(["localhost", "127.0.0.1", "[::1]"]);

/** The operator's bearer token, before anything of the body is read. */
export const requireAdmin: MiddlewareHandler<AppEnv> = async (c, next) => {
  const { adminToken } = settings(c.env);
  const local = LOCAL_HOSTS.has(new URL(c.req.url).hostname);
  if (adminToken === null || (adminToken === LOCAL_ADMIN_TOKEN && !local)) {
    throw wrongKey("The admin API is off: set the secret ADMIN_TOKEN and deploy.");
  }
  const presented = bearerKey(c.req.header("authorization")) ?? "";
  if (!sameDigest(await sha256(presented), await sha256(adminToken))) {
    throw wrongKey("Incorrect admin token. Send it in the Authorization header: 'Authorization: Bearer TOKEN'.");
  }
  await next();
};

/** @throws ApiError 400 naming the first field at fault */
async function bodyOf<T extends z.ZodType>(c: Context<AppEnv>, schema: T): Promise<z.infer<T>> {
  const json = await readJson(c.req.raw);
  const parsed = schema.safeParse(json);
  if (!parsed.success) throw requestError(parsed.error, json);
  return parsed.data;
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

function noKey(reason: Extract<NewKeyAnswer, { ok: false }>["reason"], name: string): ApiError {
  switch (reason) {
    case "no_tenant":
      return noTenant(name);
    case "no_such_key":
      return notFound(`The tenant '${name}' has no such valid key to replace.`, "key_not_found");
    case "too_many_keys":
      return new ApiError(`The tenant '${name}' has too many valid keys: revoke one first.`, {
        status: 400,
        type: "invalid_request_error",
        code: "too_many_keys",
      });
    default:
      return reason satisfies never;
  }
}

function noTenant(name: string): ApiError {
  return notFound(`There is no tenant '${name}': apply it first.`, "tenant_not_found");
}

function notFound(message: string, code: string): ApiError {
  return new ApiError(message, { status: 404, type: "invalid_request_error", code });
}
