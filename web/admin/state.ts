/** What the operator's page knows, and what it asks of the admin API. */
import { signal } from "@preact/signals";
import { failureOf, unreachable, type Failure } from "../client/failure.ts";
import type { DriftBody, Health, TenantBody, TrafficBody, UsageBody } from "../client/wire.ts";

/** Kept for this tab alone; sent in a header, never in a cookie, so that no other page can use it. */
const TOKEN_NAME = "sortie.admin";
/** How often figures are asked for again. */
const REFRESH_MS = 10_000;

export interface Tenant {
  readonly body: TenantBody;
  readonly usage: UsageBody;
}

export const token = signal(sessionStorage.getItem(TOKEN_NAME) ?? "");
export const failure = signal<Failure | null>(null);
export const health = signal<Health | null>(null);
export const traffic = signal<TrafficBody | null>(null);
export const tenants = signal<readonly Tenant[] | null>(null);
export const drift = signal<DriftBody["data"] | null>(null);
export const hours = signal(24);
/** A key that was just made: told once. */
export const newKey = signal<{ readonly tenant: string; readonly key: string } | null>(null);

class Refused extends Error {
  readonly failure: Failure;
  constructor(why: Failure) {
    super(why.title);
    this.failure = why;
  }
}

/** @throws Refused */
async function ask<T>(method: string, path: string, body?: object): Promise<T> {
  const response = await fetch(path, {
    method,
    headers: { authorization: `Bearer ${token.value}`, "content-type": "application/json" },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  if (!response.ok) throw new Refused(failureOf(response.status, response.headers, await response.text()));
  return (await response.json()) as T;
}

/** Runs what asks, and tells what goes wrong. @returns whether it went well */
async function telling(work: () => Promise<void>): Promise<boolean> {
  try {
    await work();
    failure.value = null;
    return true;
  } catch (error) {
    failure.value = error instanceof Refused ? error.failure : unreachable(error);
    if (failure.value.kind === "key") signOut();
    return false;
  }
}

export async function signIn(value: string): Promise<void> {
  token.value = value.trim();
  if (await refresh()) sessionStorage.setItem(TOKEN_NAME, token.value);
}

export function signOut(): void {
  token.value = "";
  sessionStorage.removeItem(TOKEN_NAME);
  tenants.value = null;
  traffic.value = null;
  drift.value = null;
}

export const refresh = (): Promise<boolean> =>
  telling(async () => {
    const [served, seen, calibrated, names] = await Promise.all([
      ask<Health>("GET", "/healthz"),
      ask<TrafficBody>("GET", `/admin/v1/traffic?hours=${hours.value}`),
      ask<DriftBody>("GET", `/admin/v1/route/drift?hours=${hours.value}`),
      ask<{ data: { name: string }[] }>("GET", "/admin/v1/tenants"),
    ]);
    health.value = served;
    traffic.value = seen;
    drift.value = calibrated.data;
    tenants.value = await Promise.all(names.data.map(({ name }) => readTenant(name)));
  });

async function readTenant(name: string): Promise<Tenant> {
  const [body, usage] = await Promise.all([
    ask<TenantBody>("GET", `/admin/v1/tenants/${name}`),
    ask<UsageBody>("GET", `/admin/v1/tenants/${name}/usage`),
  ]);
  return { body, usage };
}

/** Asks again and again while the page is in front of somebody. */
export function keepFresh(): void {
  setInterval(() => {
    if (token.value !== "" && !document.hidden) void refresh();
  }, REFRESH_MS);
  if (token.value !== "") void refresh();
}

export const createKey = (tenant: string, label: string): Promise<boolean> =>
  telling(async () => {
    const made = await ask<{ key: string }>("POST", `/admin/v1/tenants/${tenant}/keys`, { label });
    newKey.value = { tenant, key: made.key };
    await refresh();
  });

export const revokeKey = (tenant: string, id: string): Promise<boolean> =>
  telling(async () => {
    await ask("DELETE", `/admin/v1/tenants/${tenant}/keys/${id}`);
    await refresh();
  });

/** @param dollars as typed */
export const setLimit = (tenant: string, budget: string, dollars: number): Promise<boolean> =>
  telling(async () => {
    const body = { limit_micro_usd: Math.round(dollars * 1_000_000) };
    await ask("PUT", `/admin/v1/tenants/${tenant}/budgets/${budget}`, body);
    await refresh();
  });
