import { readFileSync } from "node:fs";
import { parse } from "smol-toml";
import { expect, test } from "vitest";
import { assertNoDeployment, configuredCheckpoint, deploymentFault } from "../../scripts/build/configured.ts";
import { fingerprint } from "../../scripts/export/fingerprint.ts";

interface Environment {
  readonly durable_objects: { readonly bindings: readonly { name: string; class_name: string }[] };
  readonly r2_buckets: readonly { binding: string; bucket_name: string }[];
  readonly analytics_engine_datasets: readonly { binding: string }[];
  readonly vars: Readonly<Record<string, string>>;
}
const config = parse(readFileSync("wrangler.toml", "utf8")) as unknown as Environment & {
  readonly env: Readonly<Record<string, Environment>>;
  readonly migrations: readonly { readonly new_sqlite_classes: readonly string[] }[];
};

test.each(Object.entries(config.env))("environment %s binds what the Worker needs, and no secret", (_, environment) => {
  expect(environment.durable_objects).toEqual(config.durable_objects);
  expect(environment.analytics_engine_datasets.map(({ binding }) => binding)).toEqual(["REQUESTS"]);
  expect(environment.r2_buckets.map(({ binding }) => binding)).toEqual(["BLOCKS", "MODEL"]);
  const secrets = ["ADMIN_TOKEN", "ORIGIN_SECRET"];
  expect(Object.keys(environment.vars).toSorted()).toEqual(
    Object.keys(config.vars)
      .filter((name) => !secrets.includes(name))
      .toSorted(),
  );
});

test.each(Object.keys(config.env))("environment %s names its checkpoint, which is models/tiny's own", async (name) => {
  const { checkpoint, fingerprint: named } = configuredCheckpoint(name);
  expect(named).toBe(await fingerprint(checkpoint));
});

test("what a shell has set, or what a folder has become, is not deployed", () => {
  const configured = { checkpoint: "models/acme", fingerprint: "00112233aabbccdd" };
  const fault = (shell: string, built: string) => deploymentFault("production", configured, shell, built);
  expect(fault("", "00112233aabbccdd")).toBeNull();
  expect(fault("models/acme", "00112233aabbccdd")).toBeNull();
  expect(fault("models/tiny", "00112233aabbccdd")).toMatch(/^CHECKPOINT is models\/tiny here, but wrangler\.toml/);
  expect(fault("", "ffffffffffffffff")).toMatch(/set FINGERPRINT = "ffffffffffffffff" there\.$/);
  expect(() => configuredCheckpoint("elsewhere")).toThrow(/\[env\.elsewhere\.vars\] must name the checkpoint/);
});

test("nothing is deployed where no environment is named", () => {
  expect(() => assertNoDeployment({ WRANGLER_COMMAND: "deploy" })).toThrow("npx wrangler deploy --env production");
  expect(() => assertNoDeployment({ WRANGLER_COMMAND: "versions upload" })).toThrow("Name the environment");
  expect(() => assertNoDeployment({ WRANGLER_COMMAND: "dev" })).not.toThrow();
  expect(() => assertNoDeployment({})).not.toThrow();
});

test("no two environments share what tenants have left", () => {
  const buckets = Object.values(config.env).map(({ r2_buckets: all }) =>
    all.find(({ binding }) => binding === "BLOCKS"),
  );
  const names = buckets.map((bucket) => bucket?.bucket_name);
  expect(new Set(names).size).toBe(names.length);
});

test("every object's class has a migration", () => {
  const made = config.migrations.flatMap(({ new_sqlite_classes: classes }) => classes);
  expect(made.toSorted()).toEqual(config.durable_objects.bindings.map(({ class_name: name }) => name).toSorted());
});
