/** `npm run bench:stall`: what one tenant's worst requests do to another tenant's first byte. */
import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { CHECKPOINT } from "../checkpoint.ts";
import { killAll, start, stopAll } from "../dev/children.ts";
import { exportBundle } from "../export/bundle.ts";
import { adminClient } from "../tenants/admin-client.ts";
import { readTenantsFile } from "../tenants/file.ts";
import { percentile } from "./gateway/load.ts";
import { isError } from "./gateway/peer.ts";
import { startWorkers } from "./gateway/workers.ts";
import { runBench } from "./options.ts";
import { digits, table } from "./report.ts";
import { difference, median } from "./rounds.ts";
import { startAttackProcess, type Statuses } from "./stall/attack-process.ts";
import { bombs } from "./stall/bombs.ts";
import { makeCheckpoint } from "./stall/long-checkpoint.ts";
import { stallOptions, type StallOptions } from "./stall/options.ts";
import { firstBytes, type Small } from "./stall/probe.ts";

const HELP = `Usage: [CHECKPOINT=DIR] npm run bench:stall [-- options]

The built Worker in workerd, with a checkpoint of a long context and many control tokens, in front of an origin that
answers at once. One tenant sends a bomb as fast as 8 connections can, another asks something small 50 times a second:
the 99th percentile of the milliseconds to its first byte, quiet and under each bomb, as medians over the rounds. Ends with one line of JSON.
`;

const TENANTS = "scripts/bench/stall/tenants.toml";
const [ATTACKER, OTHER] = ["sk-sortie-acme-local", "sk-sortie-globex-local"];
const CONNECTIONS = 8;
/** Milliseconds between two small requests. */
const EVERY_MS = 20;
/** Milliseconds after which an attack is at its height, and after which nothing of it is left. */
const SETTLE_MS = 500;
const JSON_TYPE = { "content-type": "application/json" };

const pause = (milliseconds: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, milliseconds));

function p99(values: readonly number[]): number {
  return percentile(Float64Array.from(values).sort(), 0.99);
}

async function run(options: StallOptions): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "sortie-stall-"));
  process.once("exit", () => rmSync(folder, { recursive: true, force: true }));
  const [checkpoint, bundle] = [join(folder, "stall"), join(folder, "bundle")];
  const controlToken = makeCheckpoint(CHECKPOINT, checkpoint);
  const { name, exits } = await exportBundle({ checkpoint, out: bundle, numerics: "w8a8" });
  const model = `${name}:exit-${Math.max(...exits)}`; // one that the origin answers
  const attack = startAttackProcess();
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
    const workers = await startWorkers(folder, { ORIGIN_URL: upstream, ORIGIN_SECRET: secret }, upstream, bundle);
    const admin = adminClient(workers.sortie, workers.adminToken);
    for (const [tenant, declaration] of readTenantsFile(TENANTS)) await admin.apply(tenant, declaration);
    const small = smallRequests(workers.sortie, model);
    const chosen = bombs(model, controlToken).filter(({ name: bomb }) => bomb.includes(options.only ?? ""));
    const measured = chosen.map((bomb) => ({
      bomb,
      quiet: [] as number[],
      under: [] as number[],
      worst: 0,
      statuses: {} as Record<string, number>,
    }));
    await firstBytes(small, EVERY_MS, 2_000); // unmeasured: the first requests of an isolate are slow
    for (let round = 1; round <= options.rounds; round++) {
      process.stderr.write(
        `round ${round} of ${options.rounds}, about ${Math.ceil((chosen.length * (2 * options.milliseconds + 2 * SETTLE_MS)) / 60_000)} min\n`,
      );
      for (const one of measured) {
        const { bomb, quiet, under, statuses } = one;
        quiet.push(p99(await firstBytes(small, EVERY_MS, options.milliseconds)));
        const headers = { ...JSON_TYPE, authorization: `Bearer ${ATTACKER}` };
        attack.start({ url: workers.sortie + bomb.path, headers, body: bomb.body, concurrency: CONNECTIONS });
        await pause(SETTLE_MS);
        const took = await firstBytes(small, EVERY_MS, options.milliseconds);
        under.push(p99(took));
        one.worst = Math.max(one.worst, ...took);
        add(statuses, await attack.stop());
        await pause(SETTLE_MS);
      }
    }
    const rows = measured.map(({ bomb, quiet, under, worst, statuses }) => ({
      bomb: bomb.name,
      quiet_p99_ms: median(quiet),
      p99_ms: median(under),
      rise_ms: difference(under, quiet),
      worst_ms: worst,
      statuses,
    }));
    report(rows);
    console.log(JSON.stringify({ bench: "stall", ...options, checkpoint: CHECKPOINT, rows }));
    await workers.stop();
  } finally {
    attack.end();
    await stopAll();
  }
}

/** What the other tenant asks, in turn: a list, and an answer of one token as a stream. */
function smallRequests(url: string, model: string): Small[] {
  const headers = { authorization: `Bearer ${OTHER}` };
  const body = JSON.stringify({ model, messages: [{ role: "user", content: "hi" }], max_tokens: 1, stream: true });
  return [
    { url: `${url}/v1/models`, headers, body: null },
    { url: `${url}/v1/chat/completions`, headers: { ...headers, ...JSON_TYPE }, body },
  ];
}

function add(to: Record<string, number>, more: Statuses): void {
  for (const [status, count] of Object.entries(more)) to[status] = (to[status] ?? 0) + count;
}

interface Row {
  readonly bomb: string;
  readonly quiet_p99_ms: number;
  readonly p99_ms: number;
  readonly rise_ms: number;
  readonly worst_ms: number;
  readonly statuses: Statuses;
}

function report(rows: readonly Row[]): void {
  const cells = rows.map((row) => [
    row.bomb,
    digits(row.quiet_p99_ms),
    digits(row.p99_ms),
    digits(row.rise_ms),
    digits(row.worst_ms),
    Object.entries(row.statuses)
      .map(([status, count]) => `${status}: ${count}`)
      .join(", "),
  ]);
  console.log(
    `${table(["bomb", "quiet p99, ms", "p99, ms", "rise, ms", "worst, ms", "answers to the bombs"], cells)}\n`,
  );
}

for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => process.exit(1));
process.on("exit", killAll);
await runBench(() => stallOptions(HELP), run);
