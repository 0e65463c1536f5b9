/** `npm run bench:gateway`: what Sortie costs in front of a model that answers at once. */
import { randomBytes } from "node:crypto";
import { build } from "../build.ts";
import { start, stopAll } from "../dev/children.ts";
import { litellm } from "./gateway/litellm.ts";
import { startLoadProcess } from "./gateway/load-process.ts";
import { CHAT_PATH } from "./gateway/null-upstream.ts";
import { gatewayOptions, type GatewayOptions } from "./gateway/options.ts";
import { startPeers } from "./gateway/peers.ts";
import { portkey } from "./gateway/portkey.ts";
import { requestTable, summarise } from "./gateway/summary.ts";
import { subjectsOf, type Target } from "./gateway/target.ts";
import { startWorkers, type Workers } from "./gateway/workers.ts";
import { runBench } from "./options.ts";
import { interleave } from "./rounds.ts";

const HELP = `Usage: npm run bench:gateway [-- options]

What the gateway adds to a request: the built Worker in workerd, an origin that answers one token at once, and beside
it bare routes in the same workerd and what people would pick instead (installed into build/peers when missing).
Ends with one line of JSON.
`;

const KEY = "sk-sortie-demo-local";
const BARE = "bare Hono route";
const RELAY = "Hono route that asks the upstream";
const SORTIE = "Sortie";

async function run(options: GatewayOptions): Promise<void> {
  const { name, exits } = await build();
  const model = `${name}:exit-${Math.max(...exits)}`;
  const body = JSON.stringify({
    model,
    messages: [{ role: "user", content: "What is the capital of France?" }],
    max_tokens: 8,
  });
  const load = startLoadProcess();
  let workers: Workers | null = null;
  const missing: { name: string; why: string }[] = [];
  try {
    const nothing = start(
      "null",
      process.execPath,
      ["scripts/bench/gateway/null-upstream.ts"],
      process.env,
      () => true,
    );
    const upstream = (await nothing.waitForLine(/ready on (\S+)/))[1] ?? "";
    workers = await startWorkers(
      { ORIGIN_URL: upstream, ORIGIN_SECRET: randomBytes(16).toString("hex"), API_KEY: KEY },
      upstream,
    );
    const { pid } = workers;
    const headers = { authorization: `Bearer ${KEY}` };
    const targets: Target[] = [
      { name: BARE, url: `${workers.probe}/bare`, headers: {}, body, pid },
      { name: RELAY, url: `${workers.probe}/relay`, headers: {}, body, pid },
      { name: SORTIE, url: `${workers.sortie}${CHAT_PATH}`, headers, body, pid },
    ];
    if (options.peers) {
      targets.push(
        ...(await startPeers([portkey, litellm(model)], upstream, body, (peer, why) => {
          process.stderr.write(`left out: ${peer}: ${why}\n`);
          missing.push({ name: peer, why });
        })),
      );
    }
    const results = await interleave(
      targets.flatMap((target) => subjectsOf(target, load, options.milliseconds)),
      options.rounds,
      (round) => process.stderr.write(`round ${round} of ${options.rounds}\n`),
    );
    const rows = targets.flatMap((target) => summarise(results, target.name, BARE));
    console.log(`${requestTable(rows.toSorted((a, b) => a.concurrency - b.concurrency))}\n`);
    console.log(JSON.stringify({ bench: "gateway", ...options, rows, missing }));
  } finally {
    await load.stop();
    await workers?.stop();
    await stopAll();
  }
}

await runBench(() => gatewayOptions(HELP), run);
