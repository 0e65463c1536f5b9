/** `npm run bench:origin-soak`: ten thousand different prompts through the Node origin, and the memory that it holds. */
import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { GREEDY, type GenerationRequest } from "../../src/generation.ts";
import { createOriginClient, type OriginClient } from "../../src/origin/client.ts";
import { build } from "../build.ts";
import { BUNDLE } from "../checkpoint.ts";
import { killAll, start, stopAll } from "../dev/children.ts";
import { positive, runBench } from "./options.ts";
import { megabytes, table } from "./report.ts";

const HELP = `Usage: npm run bench:origin-soak [-- options]

Requests to the Node origin, no two prompts alike, so that its prefix cache is always full and evicts: what the process
holds in memory after each tenth of them. Ends with one line of JSON.

  --requests N   default 10,000
  --cache-mb N   the origin's --cache-mb (default 64)
  --help         this text
`;

const STEPS = 10;
const CLIENTS = 8;
const PROMPT_TOKENS = 160;
const SCOPE = { scope: "acme/0", shared_tokens: 0, continued: false };

interface SoakOptions {
  readonly requests: number;
  readonly cacheMb: number;
}

function options(): SoakOptions | null {
  const { values } = parseArgs({
    options: {
      requests: { type: "string" },
      "cache-mb": { type: "string" },
      help: { type: "boolean", default: false },
    },
  });
  if (!values.help) {
    const requests = positive("requests", values.requests, 10_000);
    return { requests, cacheMb: positive("cache-mb", values["cache-mb"], 64) };
  }
  process.stdout.write(HELP);
  return null;
}

/** What a process holds in memory, in bytes. @throws Error where the system does not say */
function residentBytes(pid: number): number {
  return 1_024 * Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]);
}

/** One that no other request is like. */
function request(number: number, exit: number, vocabulary: number): GenerationRequest {
  const ids = Array.from({ length: PROMPT_TOKENS }, (_, at) => 300 + ((at * 7 + number * 131) % (vocabulary - 300)));
  return {
    request_id: `soak-${number}`,
    token_ids: [300 + (number % 1_000), 300 + Math.floor(number / 1_000), ...ids],
    answer_tokens: 0,
    exit_layer: exit,
    max_tokens: 2,
    sampling: GREEDY,
    top_logprobs: 0,
    stop_token_ids: [],
    cache: SCOPE,
  };
}

async function ask(client: OriginClient, one: GenerationRequest): Promise<void> {
  for await (const event of await client.generate(one, null)) void event;
}

async function run({ requests, cacheMb }: SoakOptions): Promise<void> {
  const { exits, shape } = await build();
  const secret = randomBytes(32).toString("hex");
  const server = ["src/origin/server.ts", "--bundle", BUNDLE, "--port", "0", "--cache-mb", String(cacheMb)];
  const origin = start("origin", process.execPath, server, { ...process.env, ORIGIN_SECRET: secret }, (line) =>
    line.includes('"error"'),
  );
  try {
    const url = (await origin.waitForLine(/ready on (http:\/\/\S+)/))[1] ?? "";
    const client = createOriginClient({ url, secret });
    const pid = origin.process.pid ?? 0;
    const rows = [{ requests: 0, resident_bytes: residentBytes(pid) }];
    const began = performance.now();
    let next = 0;
    for (let step = 1; step <= STEPS; step++) {
      const until = Math.ceil((requests * step) / STEPS);
      const one = async (): Promise<void> => {
        while (next < until) await ask(client, request(next++, Math.max(...exits), shape.vocab_size));
      };
      await Promise.all(Array.from({ length: CLIENTS }, one));
      rows.push({ requests: until, resident_bytes: residentBytes(pid) });
      const left = ((performance.now() - began) / step) * (STEPS - step);
      process.stderr.write(`${until} of ${requests} requests, ${Math.round(left / 1_000)} s left\n`);
    }
    const cells = rows.map((row) => [String(row.requests), megabytes(row.resident_bytes)]);
    console.log(`${table(["requests", "resident memory"], cells)}\n`);
    console.log(JSON.stringify({ bench: "origin-soak", requests, cache_mb: cacheMb, rows }));
  } finally {
    await stopAll();
  }
}

for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => process.exit(1));
process.on("exit", killAll);
await runBench(options, run);
