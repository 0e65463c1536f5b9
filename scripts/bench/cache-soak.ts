/** `npm run bench:cache-soak`: thousands of long prefixes through a small cache, inside an isolate's memory. */
import { readdirSync, readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import type { LoadResult } from "../../test/worker/fixtures/engine/protocol.ts";
import { startEngineWorker } from "../../test/worker/fixtures/engine/start.ts";
import type { PrefixCache } from "../../src/cache/prefix-cache.ts";
import { tiny } from "./models.ts";
import { positive, runBench } from "./options.ts";
import { megabytes, table } from "./report.ts";

const HELP = `Usage: npm run bench:cache-soak [-- --requests N]

Requests (default 5,000) with prefixes of 512 tokens at exit 3 of models/tiny in workerd, under the flags that bound an
isolate. More prefixes than its cache of 16 MB holds: blocks are evicted all the time. Prints the heaps of WebAssembly and of
JavaScript (objects, and array buffers: the least and the most of ten readings) and what the process holds in memory, ten times.
Ends with one line of JSON.
`;

process.env["MINIFLARE_WORKERD_V8_FLAGS"] = "--wasm-max-mem-pages=1600 --max-old-space-size=100";
const STEPS = 10;
/** Readings of JavaScript's heap within a step: array buffers come and go with V8's collections. */
const READINGS = 10;
const SOAK = { exit: 3, system: 512, prefixes: 24, maxBytes: 16e6 };

function options(): { requests: number } | null {
  const { values } = parseArgs({
    options: { requests: { type: "string" }, help: { type: "boolean", default: false } },
  });
  if (!values.help) return { requests: positive("requests", values.requests, 5_000) };
  process.stdout.write(HELP);
  return null;
}

/** Resident bytes of the runtime, which is a child of this process. */
function residentBytes(): number {
  const status = (pid: string): string => {
    try {
      return readFileSync(`/proc/${pid}/status`, "utf8");
    } catch {
      return ""; // it has ended
    }
  };
  const all = readdirSync("/proc").filter((name) => /^\d+$/.test(name));
  const own = all.map(status).filter((text) => text.includes(`\nPPid:\t${process.pid}\n`) && text.includes("workerd"));
  return own.reduce((sum, text) => sum + 1_024 * Number(/VmRSS:\s+(\d+)/.exec(text)?.[1] ?? 0), 0);
}

type SoakState = PrefixCache["state"] & { readonly heap_bytes: number };

async function run({ requests }: { requests: number }): Promise<void> {
  const { bundle } = await tiny();
  const worker = await startEngineWorker(bundle, true);
  try {
    await worker.call<LoadResult>("/load", { exits: [SOAK.exit] });
    const rows = [];
    const each = Math.ceil(requests / STEPS / READINGS);
    let from = 0;
    for (let step = 0; step < STEPS; step++) {
      const buffers: number[] = [];
      const objects: number[] = [];
      let state: SoakState | null = null;
      for (let reading = 0; reading < READINGS; reading++, from += each) {
        state = await worker.call<SoakState>("/soak", { ...SOAK, requests: each, from });
        const { objects_bytes, buffers_bytes } = await worker.jsHeap();
        objects.push(objects_bytes);
        buffers.push(buffers_bytes);
      }
      rows.push({
        requests: from,
        ...state!,
        objects_bytes: Math.max(...objects),
        least_buffers_bytes: Math.min(...buffers),
        most_buffers_bytes: Math.max(...buffers),
        resident_bytes: residentBytes(),
      });
      process.stderr.write(`${from} requests\n`);
    }
    console.log(
      table(
        [
          "requests",
          "WebAssembly heap",
          "JavaScript objects, most",
          "array buffers, least",
          "most",
          "resident",
          "blocks",
          "their bytes",
          "evicted",
        ],
        rows.map((row) => [
          `${row.requests}`,
          megabytes(row.heap_bytes),
          megabytes(row.objects_bytes),
          megabytes(row.least_buffers_bytes),
          megabytes(row.most_buffers_bytes),
          megabytes(row.resident_bytes),
          `${row.blocks}`,
          megabytes(row.bytes),
          `${row.evicted}`,
        ]),
      ),
    );
    console.log(JSON.stringify({ bench: "cache-soak", ...SOAK, rows }));
  } finally {
    await worker.stop();
  }
}

await runBench(options, run);
