/** `npm run tenants`: tenants, keys and usage of a deployment, from tenants.toml and by hand. */
import { createInterface } from "node:readline/promises";
import { parseArgs } from "node:util";
import { z } from "zod";
import { adminClient, type AdminClient } from "./tenants/admin-client.ts";
import { adminToken } from "./tenants/admin-token.ts";
import { readTenantsFile, tenantsFileSchema } from "./tenants/file.ts";
import { applyPlan, describePlan, plan } from "./tenants/plan.ts";
import { printable } from "./tenants/printable.ts";
import { describeTenant, describeUsage } from "./tenants/text.ts";

const HELP = `npm run tenants -- COMMAND [options]

  plan                       what apply would change
  apply                      make the deployment match the file; tenants that are not in it are closed if you
                               confirm it, or say so: --close-missing
  list                       the deployment's tenants
  show TENANT                its policy, keys and budgets
  key create TENANT          a new key, told once: --label TEXT, and if wanted
                               --expires 2027-01-01T00:00:00Z   --exits 3,6   --budget-share 0.5   --rpm 60
                               --replaces KEY_ID --overlap SECONDS   roll a key over; it inherits the old one's limits
  key revoke TENANT KEY_ID   at once and for good
  purge TENANT               forgets what is cached for it, on every tier
  usage TENANT               by day, exit and tier: --from 2026-11-01 --to 2026-11-30 --csv
  schema                     the JSON schema of tenants.toml

  --file FILE                default tenants.toml
  --url URL                  default http://localhost:8787
  --help                     this text

A deployment's admin token is read from the environment variable ADMIN_TOKEN; a local one needs none.`;

const OPTIONS = {
  file: { type: "string", default: "tenants.toml" },
  url: { type: "string", default: "http://localhost:8787" },
  label: { type: "string" },
  expires: { type: "string" },
  exits: { type: "string" },
  "budget-share": { type: "string" },
  rpm: { type: "string" },
  replaces: { type: "string" },
  overlap: { type: "string" },
  from: { type: "string" },
  to: { type: "string" },
  csv: { type: "boolean", default: false },
  "close-missing": { type: "boolean", default: false },
  help: { type: "boolean", default: false },
} as const;

type Values = ReturnType<typeof parseArgs<{ options: typeof OPTIONS; allowPositionals: true }>>["values"];

/** @returns what to print @throws Error that says what to do */
async function run(words: readonly string[], values: Values): Promise<string> {
  const [command, ...rest] = words[0] === "key" ? [`key ${words[1] ?? ""}`, ...words.slice(2)] : words;
  if (values.help || command === undefined) return HELP;
  if (command === "schema") return JSON.stringify(z.toJSONSchema(tenantsFileSchema, { io: "input" }), null, 2);
  const client = adminClient(values.url, adminToken(values.url));
  switch (command) {
    case "plan":
      return describePlan(await plan(client, readTenantsFile(values.file), values.file));
    case "apply":
      return apply(client, values);
    case "list": {
      const names = await client.list();
      const closed = await Promise.all(names.map(async (name) => (await client.show(name))?.closed_at ?? null));
      const lines = names.map((name, at) => (closed[at] == null ? name : `${name} (closed ${closed[at]})`));
      return lines.join("\n") || "There are no tenants: apply a file first.";
    }
    case "show": {
      const name = named(rest[0], "show TENANT");
      const tenant = await client.show(name);
      if (tenant === null) throw new Error(`There is no tenant ${name}. See: npm run tenants -- list`);
      return describeTenant(tenant);
    }
    case "purge": {
      const name = named(rest[0], "purge TENANT");
      return `Forgot what was cached for ${name}: ${await client.purge(name)} answers, and every block.`;
    }
    case "key create":
      return createKey(client, named(rest[0], "key create TENANT --label TEXT"), values);
    case "key revoke": {
      const usage = "key revoke TENANT KEY_ID";
      const [tenant, id] = [named(rest[0], usage), named(rest[1], usage)];
      await client.revokeKey(tenant, id);
      return `Revoked ${id}.`;
    }
    case "usage": {
      const [name, days] = [named(rest[0], "usage TENANT"), { from: values.from, to: values.to }];
      return values.csv ? (await client.usageCsv(name, days)).trimEnd() : describeUsage(await client.usage(name, days));
    }
    default:
      throw new Error(`There is no command ${JSON.stringify(command)}. See: npm run tenants -- --help`);
  }
}

/** @throws Error where something was left undone */
async function apply(client: AdminClient, values: Values): Promise<string> {
  const declarations = readTenantsFile(values.file);
  const changes = await plan(client, declarations, values.file);
  const closing = changes.filter(({ kind }) => kind === "close").map(({ name }) => name);
  console.log(printable(describePlan(changes)));
  const closes = closing.length > 0 && (values["close-missing"] || (await confirmed(closing)));
  const undone = await applyPlan(client, declarations, changes, closes);
  if (undone.length > 0) throw new Error(undone.join("\n"));
  return `Applied to ${values.url}.`;
}

/** Asks whoever sits at the terminal, if somebody does. */
async function confirmed(closing: readonly string[]): Promise<boolean> {
  if (!process.stdin.isTTY) return false;
  const terminal = createInterface({ input: process.stdin, output: process.stderr });
  const answer = await terminal.question(`\nType "close" to close ${closing.join(", ")} for good: `);
  terminal.close();
  return answer.trim() === "close";
}

async function createKey(client: AdminClient, name: string, values: Values): Promise<string> {
  if (values.label === undefined) throw new Error("Say who or what will use the key: --label TEXT");
  const exits = values.exits?.split(",").map(Number) ?? null;
  const budgetShare = numberOf(values["budget-share"], "--budget-share");
  const perMinute = numberOf(values.rpm, "--rpm");
  const own = exits !== null || budgetShare !== null || perMinute !== null;
  const { id, key } = await client.createKey(name, {
    label: values.label,
    expires_at: values.expires ?? null,
    limits: own ? { exits, budget_share: budgetShare, requests_per_minute: perMinute } : null,
    replaces: values.replaces ?? null,
    overlap_seconds: numberOf(values.overlap, "--overlap") ?? 0,
  });
  return `${key}\n\nKey ${id} of ${name}. It is told only now: keep it safe.`;
}

/** @throws Error with the right usage */
function named(word: string | undefined, usage: string): string {
  if (word === undefined) throw new Error(`Usage: npm run tenants -- ${usage}`);
  return word;
}

function numberOf(text: string | undefined, option: string): number | null {
  if (text === undefined) return null;
  const value = Number(text);
  if (!Number.isFinite(value)) throw new Error(`${option} must be a number, it is ${JSON.stringify(text)}`);
  return value;
}

try {
  const { values, positionals } = parseArgs({ options: OPTIONS, allowPositionals: true });
  console.log(printable(await run(positionals, values)));
} catch (error) {
  console.error(printable(error instanceof Error ? error.message : String(error)));
  process.exitCode = 1;
}
