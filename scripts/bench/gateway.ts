/** `npm run bench:gateway`: what Sortie costs in front of a model that answers at once. */
import { randomBytes } from "node:crypto";
import { LOCAL_ADMIN_TOKEN } from "../../src/env.ts";
import { build } from "../build.ts";
import { start, stopAll } from "../dev/children.ts";
import { adminClient } from "../tenants/admin-client.ts";
import { readTenantsFile } from "../tenants/file.ts";
import { litellm } from "./gateway/litellm.ts";
import { type LoadProcess, startLoadProcess } from "./gateway/load-process.ts";
import { CHAT_PATH } from "./gateway/null-upstream.ts";
import { gatewayOptions, type GatewayOptions } from "./gateway/options.ts";
import { isError } from "./gateway/peer.ts";
import { startPeers } from "./gateway/peers.ts";
import { portkey } from "./gateway/portkey.ts";
import { BARE, LEDGER, RELAY, requestTable, SORTIE, summarise, verdicts, verdictTable } from "./gateway/summary.ts";
import { subjectsOf, type Target } from "./gateway/target.ts";
import { startWorkers, type Workers } from "./gateway/workers.ts";
import { runBench } from "./options.ts";
import { interleave } from "./rounds.ts";

const HELP = `Usage: npm run bench:gateway [-- options]

What the gateway adds to a request: the built Worker in workerd with key, budgets and limits on, in front of an origin
that answers one token at once. Beside it, in every round: routes of a bare Worker in the same workerd, the tenant's
ledger alone, and what people would pick instead (installed into build/peers when missing; what cannot be installed is
left out). Ends with one line of JSON.
`;

const TENANTS = "scripts/bench/gateway/tenants.toml";
const KEY = "sk-sortie-bench-local";

/** Applies the benchmark's tenant, as an operator would. */
async function applyTenant(url: string): Promise<void> {
  const admin = adminClient(url, LOCAL_ADMIN_TOKEN);
  for (const [name, declaration] of readTenantsFile(TENANTS)) await admin.apply(name, declaration);
}

interface Setting {
  readonly options: GatewayOptions;
  readonly load: LoadProcess;
  readonly workers: Workers;
  readonly upstream: string;
  /** Name of a model at its deepest exit, which the origin answers. */
  readonly model: string;
}

async function measure({ options, load, workers, upstream, model }: Setting): Promise<void> {
  const messages = [{ role: "user", content: "What is the capital of France?" }];
  const shared = {
    headers: { authorization: `Bearer ${KEY}` },
    body: JSON.stringify({ model, messages, max_tokens: 8 }),
  };
  const worker = { ...shared, pid: workers.pid };
  const missing: { name: string; why: string }[] = [];
  const leftOut = (name: string, why: string): void => {
    process.stderr.write(`left out: ${name}: ${why}\n`);
    missing.push({ name, why });
  };
  const peers = [portkey, litellm(model)];
  const targets: Target[] = [
    { ...worker, name: BARE, url: `${workers.probe}/bare` },
    { ...worker, name: LEDGER, url: `${workers.probe}/ledger` },
    { ...worker, name: RELAY, url: `${workers.probe}/relay` },
    { ...worker, name: SORTIE, url: `${workers.sortie}${CHAT_PATH}` },
    ...(options.peers ? await startPeers(peers, upstream, shared.body, leftOut) : []),
  ];
  const results = await interleave(
    targets.flatMap((target) => subjectsOf(target, load, options.milliseconds)),
    options.rounds,
    (round) => process.stderr.write(`round ${round} of ${options.rounds}\n`),
  );
  const rows = targets.flatMap(({ name }) => summarise(results, name));
  const judged = verdicts(results, targets.find(({ name }) => name.startsWith("LiteLLM"))?.name ?? null);
  console.log(`${requestTable(rows)}\n`);
  console.log(`${verdictTable(judged)}\n`);
  console.log(JSON.stringify({ bench: "gateway", ...options, rows, targets: judged, missing }));
}

async function run(options: GatewayOptions): Promise<void> {
  const { name, exits } = await build();
  const load = startLoadProcess();
  let workers: Workers | null = null;
  try {
    const nothing = start(
      "upstream",
      process.execPath,
      ["scripts/bench/gateway/null-upstream.ts"],
      process.env,
      isError,
    );
    const upstream = (await nothing.waitForLine(/ready on (\S+)/))[1] ?? "";
    const secret = randomBytes(32).toString("hex");
    workers = await startWorkers({ ORIGIN_URL: upstream, ORIGIN_SECRET: secret }, upstream);
    await applyTenant(workers.sortie);
    await measure({ options, load, workers, upstream, model: `${name}:exit-${Math.max(...exits)}` });
  } finally {
    await load.stop();
    await workers?.stop();
    await stopAll();
  }
}

await runBench(() => gatewayOptions(HELP), run);
