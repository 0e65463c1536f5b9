import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { createTenants } from "../../src/tenant/client.ts";
import { sha256 } from "../../src/tenant/keys.ts";
import { CALLER } from "./api-flow.ts";

beforeEach(() => {
  vi.useFakeTimers({ toFake: ["setTimeout", "Date"] });
  vi.spyOn(console, "error").mockImplementation(() => {});
});
afterEach(() => {
  vi.useRealTimers();
  vi.restoreAllMocks();
});

/** A namespace whose objects are made by `make`, and the names that were woken. */
function namespaceOf(make: (name: string) => object) {
  const woken: string[] = [];
  const namespace = {
    idFromName: (name: string) => name,
    get(name: string) {
      const object = make(name) as Record<string, (...args: unknown[]) => unknown>;
      return new Proxy(object, {
        get:
          (target, method) =>
          (...args: unknown[]) => {
            woken.push(name);
            return target[String(method)]?.(...args);
          },
      });
    },
  };
  return { namespace: namespace as unknown as DurableObjectNamespace, woken };
}

/** A deployment with the tenants `names`, whose only secret is `right`. */
async function deployment(...names: string[]) {
  const digest = await sha256("right");
  const tenants = namespaceOf((tenant) => ({
    authenticate: async (presented: string) => (presented === digest ? { ...CALLER, tenant } : null),
    admit: async (presented: string) => (presented === digest ? { ok: true, caller: { ...CALLER, tenant } } : null),
    settle: () => Promise.reject(new Error("object was reset")),
  }));
  const directory = namespaceOf(() => ({ has: async (name: string) => names.includes(name) }));
  return {
    client: createTenants({ TENANT: tenants.namespace, DIRECTORY: directory.namespace }),
    tenantsWoken: tenants.woken,
    directoryWoken: directory.woken,
  };
}

/** Digests are made outside of the clock: waits until the refusal does. */
async function refusalWaits(): Promise<void> {
  while (vi.getTimerCount() === 0) await new Promise((resolve) => setImmediate(resolve));
}

test("a right key is its tenant's, and the directory is asked once", async () => {
  const { client, directoryWoken, tenantsWoken } = await deployment("client-a");
  expect(await client.authenticate("sk-sortie-client-a-right")).toMatchObject({ tenant: "client-a" });
  expect(await client.authenticate("sk-sortie-client-a-right")).toMatchObject({ tenant: "client-a" });
  expect(tenantsWoken).toEqual(["client-a", "client-a"]);
  expect(directoryWoken).toHaveLength(1);
});

test("an admission is its tenant's, too", async () => {
  const { client } = await deployment("client-e");
  const request = { id: "a-1", leaseMs: 1_000 };
  expect(await client.admit("sk-sortie-client-e-right", request)).toMatchObject({ caller: { tenant: "client-e" } });
});

test("a made-up tenant's object never wakes up", async () => {
  const { client, tenantsWoken } = await deployment("client-b");
  const refused = client.authenticate("sk-sortie-nobody-right");
  await refusalWaits();
  await vi.advanceTimersByTimeAsync(200);
  expect(await refused).toBeNull();
  expect(tenantsWoken).toEqual([]);
});

test.each([
  ["a wrong secret", "sk-sortie-client-c-wrong"],
  ["a tenant that does not exist", "sk-sortie-nobody-right"],
  ["no key at all", "hello"],
])("%s is refused after the same time", async (_, key) => {
  const { client } = await deployment("client-c");
  let answered: number | null = null;
  const started = Date.now();
  void client.authenticate(key).then(() => (answered = Date.now()));
  await refusalWaits();
  await vi.advanceTimersByTimeAsync(99);
  expect(answered).toBeNull();
  await vi.advanceTimersByTimeAsync(1);
  expect(answered).toBe(started + 100);
});

test("a ledger that fails is a 503 with retry-after, its reason only logged", async () => {
  const { client } = await deployment("client-d");
  await expect(client.tenant("client-d").settle("id", [])).rejects.toMatchObject({
    status: 503,
    code: "ledger_unavailable",
    headers: { "retry-after": "1" },
    message: expect.not.stringContaining("reset"),
  });
});
