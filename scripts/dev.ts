/**
 * `npm run dev`: the bundle if it is missing, the embedded origin, and the Worker in its real runtime.
 * Prints one ready line with an address, a key and a curl line that works. Ctrl-C ends everything.
 */
import { randomBytes } from "node:crypto";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { OTLP_VARIABLE } from "../src/origin/server-tracing.ts";
import { build } from "./build.ts";
import { BUNDLE } from "./checkpoint.ts";
import { type Child, killAll, start, stopAll } from "./dev/children.ts";
import { fitted } from "./dev/fitted.ts";
import { whenParentEnds } from "./dev/parent.ts";
import { secretFile } from "./dev/secret-file.ts";
import { tracedOptions } from "./dev/traced-config.ts";
import { warmUp } from "./dev/warm-up.ts";
import { DEMO_KEY } from "./dev/demo-key.ts";
import { adminClient } from "./tenants/admin-client.ts";
import { localAdminToken } from "./tenants/admin-token.ts";
import { readTenantsFile } from "./tenants/file.ts";
import { describeBudget } from "./tenants/text.ts";

const DEFAULT_PORT = 8787;
/** What is applied: the tenant of the demo key. */
const TENANTS = "tenants.example.toml";
const DEMO_TENANT = "demo";
const BIN = join(import.meta.dirname, "..", "node_modules", ".bin");

const HELP = `npm run dev [-- options]

Runs the whole of Sortie on this computer: the origin (deeper exits) and the Worker (shallow exits)
in Cloudflare's runtime. No account, no network, no GPU.

  PORT=8787        port of the Worker
  ADMIN_TOKEN=TEXT token of the admin API; default: one made for this computer
  CHECKPOINT=DIR   checkpoint to serve (docs/bring-your-own.md); default models/tiny
  --origin URL     use an origin that runs already, e.g. gpu-backend's; ORIGIN_SECRET is its secret
  --state DIR      where tenants, keys and usage are kept; default .wrangler/state
  --otlp URL       send the spans of both tiers to an OpenTelemetry collector, e.g. http://127.0.0.1:4318
  --verbose        show every line of both servers
  --help           this text`;

const { values } = parseArgs({
  options: {
    origin: { type: "string" },
    state: { type: "string" },
    otlp: { type: "string" },
    verbose: { type: "boolean" },
    help: { type: "boolean" },
  },
});
if (values.help) {
  console.log(HELP);
  process.exit(0);
}

const port = Number(process.env["PORT"] ?? DEFAULT_PORT);
if (!Number.isInteger(port) || port < 1 || port > 65535) {
  console.error(`PORT must be a number from 1 to 65535, it is ${JSON.stringify(process.env["PORT"])}`);
  process.exit(1);
}

/** Ends the children, then this process. */
let stopping = false;
async function stop(code: number): Promise<void> {
  if (stopping) return;
  stopping = true;
  await stopAll();
  process.exit(code);
}
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, () => void stop(0));
process.on("exit", killAll);
whenParentEnds(() => void stop(0));

/** What a developer wants to see of the servers while nothing is wrong: warnings and errors. */
const showLine = (line: string): boolean => values.verbose === true || /\b(error|warn)/i.test(line);

function startEmbedded(secret: string): Child {
  return start(
    "origin",
    process.execPath,
    ["src/origin/server.ts", "--bundle", BUNDLE, "--port", "0"],
    { ...process.env, ORIGIN_SECRET: secret, ...(values.otlp !== undefined && { [OTLP_VARIABLE]: values.otlp }) },
    showLine,
  );
}

const whenEnded = async ({ name, exited }: Child) => ({ name, code: await exited });

try {
  const bundle = await build();
  const secret = values.origin === undefined ? randomBytes(32).toString("hex") : (process.env["ORIGIN_SECRET"] ?? "");
  const embedded = values.origin === undefined ? startEmbedded(secret) : null;
  const token = localAdminToken();
  const variables = {
    ADMIN_TOKEN: token,
    ORIGIN_URL: values.origin ?? (await embedded?.waitForLine(/ready on (http:\/\/\S+)/))?.[1] ?? "",
    ORIGIN_SECRET: secret,
    PLAYGROUND_KEY: DEMO_KEY,
    // Exits that other engines serve, and whether handoffs are sent (src/env.ts), come from this process's environment.
    OPENAI_EXITS: process.env["OPENAI_EXITS"] ?? "",
    HANDOFFS: process.env["HANDOFFS"] ?? "auto",
  };
  const worker = start(
    "worker",
    join(BIN, "wrangler"),
    [
      "dev",
      ...(values.otlp === undefined ? [] : tracedOptions(values.otlp)),
      "--ip",
      "127.0.0.1",
      "--port",
      String(port),
      "--show-interactive-dev-session=false",
      ...(values.state === undefined ? [] : ["--persist-to", values.state]),
      "--env-file",
      secretFile(variables), // arguments would show secrets to everybody on this computer
    ],
    // No request to Cloudflare: neither usage metrics nor the place this computer is at.
    { ...process.env, WRANGLER_SEND_METRICS: "false", CLOUDFLARE_CF_FETCH_ENABLED: "false" },
    showLine,
  );
  const url = `http://localhost:${port}`;
  await worker.waitForLine(/Ready on/);
  const admin = adminClient(url, token);
  for (const [name, declaration] of readTenantsFile(TENANTS)) {
    await admin.apply(name, fitted(declaration, bundle.exits));
  }
  await warmUp(url, DEMO_KEY, bundle);
  const demo = await admin.show(DEMO_TENANT);
  console.log(`
Sortie is ready on ${url}
  open  ${url} to try it, ${url}/admin to see usage (token ${token})
  model ${bundle.name} (${bundle.fingerprint}), exits ${bundle.exits.join(", ")}
  key   ${DEMO_KEY}, a key of the tenant ${DEMO_TENANT} (${TENANTS})
${(demo?.budgets ?? []).map((budget) => `        ${describeBudget(budget)}`).join("\n")}

curl ${url}/v1/chat/completions -H "authorization: Bearer ${DEMO_KEY}" -H "content-type: application/json" \\
  -d '{"model": "${bundle.name}", "messages": [{"role": "user", "content": "What is the capital of France?"}]}'

Ctrl-C stops it.`);
  const ended = await Promise.race([worker, ...(embedded === null ? [] : [embedded])].map(whenEnded));
  if (!stopping) {
    console.error(`the ${ended.name} ended with code ${ended.code}; stopping`);
    await stop(1);
  }
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  await stop(1);
}
