/** `npm run bench:gateway`: what Sortie costs in front of a model that answers at once. */
import { randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import { tmpdir } from "node:os";
import { build } from "../build.ts";
import { killAll, start, stopAll } from "../dev/children.ts";
import { adminClient } from "../tenants/admin-client.ts";
import { readTenantsFile } from "../tenants/file.ts";
import { litellm } from "./gateway/litellm.ts";
import { startLoadProcess } from "./gateway/load-process.ts";
import { CHAT_PATH } from "./gateway/null-upstream.ts";
import { gatewayOptions, type GatewayOptions } from "./gateway/options.ts";
import { isError } from "./gateway/peer.ts";
import { startPeers } from "./gateway/peers.ts";
import { portkey } from "./gateway/portkey.ts";
import { BARE, IN_MEMORY, LEDGER, RELAY, requestTable, SORTIE, summarise } from "./gateway/summary.ts";
import { subjectsOf, type Target, warmUp } from "./gateway/target.ts";
import { verdicts, verdictTable } from "./gateway/verdicts.ts";
import { startWorkers, type Workers } from "./gateway/workers.ts";
import { runBench } from "./options.ts";
import { interleave } from "./rounds.ts";

const HELP = `Usage: npm run bench:gateway [-- options]

What the gateway adds to a request: the built Worker in workerd with key, budgets and limits on, in front of an origin
that answers one token at once. Beside it, in every round: routes of a bare Worker in the same workerd, the tenant's
ledger alone, both once more with the objects' storage in memory, and what people would pick instead (installed into
build/peers when missing; what cannot be installed is left out). Ends with one line of JSON.
`;

const TENANTS = "scripts/bench/gateway/tenants.toml";
const KEY = "sk-sortie-bench-local";
/** A folder in memory, where the system has one: what a disk's flushes cost is the difference. */
const MEMORY = "/dev/shm";

/** Starts the Worker on a storage folder and applies the benchmark's tenant, as an operator would. */
async function deploy(storage: string, upstream: string): Promise<Workers> {
  const secret = randomBytes(32).toString("hex");
  const workers = await startWorkers(storage, { ORIGIN_URL: upstream, ORIGIN_SECRET: secret }, upstream);
  const admin = adminClient(workers.sortie, workers.adminToken);
  for (const [name, declaration] of readTenantsFile(TENANTS)) await admin.apply(name, declaration);
  return workers;
}

/** Everything of ours that is asked. @param inMemory the same with its storage in memory, if there is one */
function ours(onDisk: Workers, inMemory: Workers | null, body: string): Target[] {
  const shared = { headers: { authorization: `Bearer ${KEY}` }, body };
  const tenants = ({ probe, sortie, pid }: Workers, suffix: string): Target[] => [
    { ...shared, pid, name: LEDGER + suffix, url: `${probe}/ledger` },
    { ...shared, pid, name: SORTIE + suffix, url: `${sortie}${CHAT_PATH}` },
  ];
  const { probe, pid } = onDisk;
  return [
    { ...shared, pid, name: BARE, url: `${probe}/bare` },
    { ...shared, pid, name: RELAY, url: `${probe}/relay` },
    ...tenants(onDisk, ""),
    ...(inMemory === null ? [] : tenants(inMemory, IN_MEMORY)),
  ];
}

async function run(options: GatewayOptions): Promise<void> {
  const { name, exits } = await build();
  const model = `${name}:exit-${Math.max(...exits)}`; // one that the origin answers
  const messages = [{ role: "user", content: "What is the capital of France?" }];
  const body = JSON.stringify({ model, messages, max_tokens: 8 });
  const missing: { name: string; why: string }[] = [];
  const leftOut = (peer: string, why: string): void => {
    process.stderr.write(`left out: ${peer}: ${why}\n`);
    missing.push({ name: peer, why });
  };
  const load = startLoadProcess();
  const deployed: Workers[] = [];
  try {
    const program = ["scripts/bench/gateway/null-upstream.ts"];
    const nothing = start("upstream", process.execPath, program, process.env, isError);
    const upstream = (await nothing.waitForLine(/ready on (\S+)/))[1] ?? "";
    const onDisk = await deploy(tmpdir(), upstream);
    deployed.push(onDisk);
    const inMemory = existsSync(MEMORY) ? await deploy(MEMORY, upstream) : null;
    if (inMemory !== null) deployed.push(inMemory);
    const peers = options.peers ? await startPeers([portkey, litellm(model)], upstream, body, leftOut) : [];
    const targets = [...ours(onDisk, inMemory, body), ...peers];
    process.stderr.write("warming up\n");
    for (const target of targets) await warmUp(target, load, options.milliseconds);
    const results = await interleave(
      targets.flatMap((target) => subjectsOf(target, load, options.milliseconds)),
      options.rounds,
      (round) => process.stderr.write(`round ${round} of ${options.rounds}\n`),
    );
    const rows = targets.flatMap((target) => summarise(results, target.name));
    const rival = targets.find((target) => target.name.startsWith("LiteLLM"))?.name ?? null;
    const judged = verdicts(results, inMemory === null ? [""] : ["", IN_MEMORY], rival);
    console.log(`${requestTable(rows)}\n`);
    console.log(`${verdictTable(judged)}\n`);
    console.log(JSON.stringify({ bench: "gateway", ...options, rows, targets: judged, missing }));
  } finally {
    await load.stop();
    for (const workers of deployed) await workers.stop();
    await stopAll();
  }
}

for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => process.exit(1));
process.on("exit", killAll);
await runBench(() => gatewayOptions(HELP), run);
