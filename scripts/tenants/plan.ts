/** What `apply` would change: tenants.toml against the deployment. Pure but for the asking. */
import type { Declaration, TenantBody } from "../../src/routes/admin-schemas.ts";
import type { AdminClient } from "./admin-client.ts";
import type { Declarations } from "./file.ts";

export interface TenantChange {
  readonly name: string;
  readonly kind: "create" | "change" | "reopen" | "close" | "none";
  /** One a difference, e.g. `~ budgets.daily.limit_micro_usd: 1000000 → 2000000`. */
  readonly lines: readonly string[];
}

export async function plan(client: AdminClient, declarations: Declarations): Promise<TenantChange[]> {
  const changes: TenantChange[] = [];
  for (const [name, declaration] of declarations) {
    changes.push(changeOf(name, declaration, await client.show(name)));
  }
  for (const name of await client.list()) {
    if (declarations.has(name)) continue;
    const open = (await client.show(name))?.closed_at === null;
    if (open) changes.push({ name, kind: "close", lines: ["no key opens it any more; its records stay"] });
  }
  return changes;
}

export function changeOf(name: string, declared: Declaration, deployed: TenantBody | null): TenantChange {
  const lines = differences(flat(policyAndKeys(declared)), flat(deployed === null ? {} : deployedView(deployed)));
  if (deployed === null) return { name, kind: "create", lines };
  if (deployed.closed_at !== null) return { name, kind: "reopen", lines };
  return { name, kind: lines.length === 0 ? "none" : "change", lines };
}

/** The first digits of a digest, by which a declared key is known. */
const PREFIX_CHARS = 8;

function policyAndKeys({ policy, keys }: Declaration): object {
  const byPrefix = keys.map(({ secret_sha256, ...key }) => [secret_sha256.slice(0, PREFIX_CHARS), key] as const);
  return { ...policy, keys: Object.fromEntries(byPrefix) };
}

function deployedView({ policy, keys }: TenantBody): object {
  const valid = keys.filter(({ declared, revoked_at: revoked }) => declared && revoked === null);
  const byPrefix = valid.map(
    ({ secret_sha256_prefix: prefix, label, limits, expires_at }) => [prefix, { label, limits, expires_at }] as const,
  );
  return { ...policy, keys: Object.fromEntries(byPrefix) };
}

/** Every leaf by its path; the entries of a list that have names are known by them. */
function flat(value: unknown, path = "", into = new Map<string, string>()): Map<string, string> {
  if (typeof value !== "object" || value === null) {
    if (value !== null) into.set(path, JSON.stringify(value));
    return into;
  }
  for (const [key, entry] of Object.entries(value)) {
    const named = Array.isArray(value) && typeof entry === "object" && entry !== null && "name" in entry;
    const step = named ? String((entry as { name: unknown }).name) : key;
    flat(entry, path === "" ? step : `${path}.${step}`, into);
  }
  return into;
}

function differences(wanted: ReadonlyMap<string, string>, present: ReadonlyMap<string, string>): string[] {
  const paths = [...new Set([...wanted.keys(), ...present.keys()])].toSorted();
  return paths.flatMap((path) => {
    const [to, from] = [wanted.get(path), present.get(path)];
    if (to === from) return [];
    if (from === undefined) return [`+ ${path}: ${to}`];
    if (to === undefined) return [`- ${path}: ${from}`];
    return [`~ ${path}: ${from} → ${to}`];
  });
}

const SIGNS = { create: "+", change: "~", reopen: "+", close: "-", none: " " } as const;

/** The plan as people read it. */
export function describePlan(changes: readonly TenantChange[]): string {
  const blocks = changes.map(({ name, kind, lines }) => {
    const head = `${SIGNS[kind]} ${name}${kind === "none" ? "" : ` (${kind})`}`;
    return [head, ...lines.map((line) => `    ${line}`)].join("\n");
  });
  const counted = changes.filter(({ kind }) => kind !== "none").length;
  return [...blocks, counted === 0 ? "Nothing to change." : `${counted} to change.`].join("\n");
}

/** Makes the deployment match the declarations. @param changes from {@link plan} */
export async function applyPlan(
  client: AdminClient,
  declarations: Declarations,
  changes: readonly TenantChange[],
): Promise<void> {
  for (const { name, kind } of changes) {
    if (kind === "none") continue;
    const declaration = declarations.get(name);
    if (kind === "close" || declaration === undefined) await client.close(name);
    else await client.apply(name, declaration);
  }
}
