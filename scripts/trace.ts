/** `npm run trace`: one escalated request through both tiers, and whether its spans are one tree. */
import { randomUUID } from "node:crypto";
import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { start, stopAll } from "./dev/children.ts";
import { DEMO_KEY } from "./dev/demo-key.ts";
import { freePort } from "./dev/free-port.ts";
import { findCollector, startCollector } from "./trace/collector.ts";
import { startReceiver } from "./trace/receiver.ts";
import { drawn, ESCALATED_PROMPT, faults, spansOf } from "./trace/tree.ts";

/** Spans leave when an invocation ends; a collector sends them on in batches. */
const PATIENCE_MS = 20_000;
/** Without a new span for so long, all have come. */
const QUIET_MS = 2_000;

const HELP = `npm run trace [-- options]

Starts \`npm run dev\`, asks one prompt that the edge hands to the origin, prints its spans, and ends with 1 unless they
are one tree across both tiers. An OpenTelemetry Collector (OTELCOL=PROGRAM, or otelcol on the path) takes the spans
where there is one, and sends them on to a small OTLP receiver; otherwise that receiver takes them itself.

  --origin URL   an origin that runs already and exports to the same address; ORIGIN_SECRET is its secret
  --port N       of that address (default: a free one)
  --help         this text`;

const { values } = parseArgs({
  options: {
    origin: { type: "string" },
    port: { type: "string", default: "0" },
    help: { type: "boolean", default: false },
  },
});

async function main(): Promise<void> {
  const collector = findCollector();
  const receiver = await startReceiver(collector === null ? Number(values.port) : 0);
  const otlp = collector === null ? receiver.url : await startCollector(collector, receiver.url, Number(values.port));
  console.log(`spans go to ${otlp}: ${collector ?? "the receiver of this command, no collector was found"}`);
  const port = await freePort();
  const state = mkdtempSync(join(tmpdir(), "sortie-trace-"));
  const dev = start(
    "dev",
    process.execPath,
    [
      join(import.meta.dirname, "dev.ts"),
      "--otlp",
      otlp,
      "--state",
      state,
      ...(values.origin === undefined ? [] : ["--origin", values.origin]),
    ],
    { ...process.env, PORT: String(port) },
    () => false,
  );
  await dev.waitForLine(/ready on http/);
  const requestId = randomUUID();
  const response = await fetch(`http://localhost:${port}/v1/chat/completions`, {
    method: "POST",
    headers: { authorization: `Bearer ${DEMO_KEY}`, "content-type": "application/json", "x-request-id": requestId },
    body: JSON.stringify({ model: "tiny", temperature: 0, messages: [{ role: "user", content: ESCALATED_PROMPT }] }),
  });
  console.log(`${response.status}, exit ${response.headers.get("x-sortie-exit")}: ${await response.text()}\n`);
  let tree = spansOf(receiver.spans, requestId);
  for (const deadline = Date.now() + PATIENCE_MS; Date.now() < deadline;) {
    const before = tree.length;
    await new Promise((resolve) => setTimeout(resolve, QUIET_MS));
    tree = spansOf(receiver.spans, requestId);
    if (tree.length === before && faults(tree).length === 0) break;
  }
  receiver.stop();
  const wrong = [...faults(tree), ...receiver.refused];
  console.log(`${drawn(tree)}\n`);
  const services = [...new Set(tree.map(({ service }) => service))];
  console.log(JSON.stringify({ collector, spans: tree.length, services, faults: wrong }));
  if (wrong.length > 0) process.exitCode = 1;
}

try {
  if (values.help) console.log(HELP);
  else await main();
} catch (error) {
  console.error(`trace: ${(error as Error).message}`);
  process.exitCode = 1;
} finally {
  await stopAll();
}
