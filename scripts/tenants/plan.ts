/** What `apply` would change: tenants.toml against the deployment. Pure but for the asking. */
import type { Declaration, TenantBody } from "../../src/api/admin-schemas.ts";
import type { AdminClient } from "./admin-client.ts";
import { declarationFaults } from "../../src/tenant/policy-faults.ts";
import { fieldOf, type Declarations } from "./file.ts";

export interface TenantChange {
  readonly name: string;
  readonly kind: "create" | "change" | "reopen" | "close" | "none";
  /** One a difference, e.g. `~ budgets.daily.limit_micro_usd: 1000000 → 2000000`. */
  readonly lines: readonly string[];
}

/**
 * Closings first: they cannot be undone.
 * @param file name of the file, for complaints
 * @throws Error naming what the deployment would refuse
 */
export async function plan(client: AdminClient, declarations: Declarations, file: string): Promise<TenantChange[]> {
  const exits = await client.exits();
  const changes: TenantChange[] = [];
  const faults: string[] = [];
  for (const [name, declaration] of declarations) {
    const deployed = await client.show(name);
    faults.push(
      ...faultsOf(declaration, deployed, exits, Date.now()).map((fault) => `${file}: tenant ${name}: ${fault}`),
    );
    changes.push(changeOf(name, declaration, deployed));
  }
  if (faults.length > 0) throw new Error(faults.join("\n"));
  const closings: TenantChange[] = [];
  for (const name of await client.list()) {
    if (declarations.has(name)) continue;
    const open = (await client.show(name))?.closed_at === null;
    if (open) closings.push({ name, kind: "close", lines: [CLOSING] });
  }
  return [...closings, ...changes];
}

const CLOSING = "all of its keys are revoked for good; its records stay";

/** What the deployment would refuse, in the file's own terms. @param now milliseconds since 1970 */
export function faultsOf(
  declaration: Declaration,
  deployed: TenantBody | null,
  exits: readonly number[],
  now: number,
): string[] {
  const contradictions = declarationFaults(declaration, exits).map(({ path, message }) => {
    const field = fieldOf(path.filter((step) => step !== "policy" && step !== "limits"));
    return field === "" ? message : `${field}: ${message}`;
  });
  const known = new Set(deployed?.keys.map(({ secret_sha256_prefix: prefix }) => prefix));
  const expired = declaration.keys.flatMap(({ secret_sha256: digest, expires_at: at }, index) => {
    const past = at !== null && Date.parse(at) <= now && !known.has(digest.slice(0, PREFIX_CHARS));
    return past ? [`keys[${index}].expires_at: it is past, so nobody could use the key`] : [];
  });
  return [...contradictions, ...expired];
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
  const closing = changes.filter(({ kind }) => kind === "close").map(({ name }) => name);
  const warning = closing.length === 0 ? [] : [`CLOSES ${closing.join(", ")}: not in the file.`, ""];
  const blocks = changes.map(({ name, kind, lines }) => {
    const head = `${SIGNS[kind]} ${name}${kind === "none" ? "" : ` (${kind})`}`;
    return [head, ...lines.map((line) => `    ${line}`)].join("\n");
  });
  const counted = changes.filter(({ kind }) => kind !== "none").length;
  return [...warning, ...blocks, counted === 0 ? "Nothing to change." : `${counted} to change.`].join("\n");
}

/**
 * Makes the deployment match the declarations.
 * @param changes from {@link plan}
 * @param closes whether tenants that are not declared are closed; otherwise they stay as they are
 * @returns what is left undone, a line each
 */
export async function applyPlan(
  client: AdminClient,
  declarations: Declarations,
  changes: readonly TenantChange[],
  closes: boolean,
): Promise<string[]> {
  const undone: string[] = [];
  for (const { name, kind } of changes) {
    const declaration = declarations.get(name);
    if (kind === "close" && closes) await client.close(name);
    else if (kind === "close") undone.push(`Not closed: ${name}. Close what is not in the file with --close-missing.`);
    else if (declaration !== undefined) {
      const { revoked_keys: revoked } = await client.apply(name, declaration);
      if (revoked.length === 0) continue;
      const labels = revoked.map((label) => JSON.stringify(label)).join(", ");
      undone.push(
        `${name}: the keys ${labels} were revoked and stay so. Give them new secrets, or take them out of the file.`,
      );
    }
  }
  return undone;
}
