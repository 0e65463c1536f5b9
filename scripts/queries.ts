/** `npm run queries`: the queries of docs/telemetry.md over a log's requests, in ClickHouse, whose SQL Analytics Engine speaks. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { z } from "zod";
import { dataPoint } from "../src/telemetry/dataset.ts";
import type { AnswerRecord, Ending } from "../src/telemetry/request-event.ts";

const DOCUMENT = "docs/telemetry.md";
/** Columns that a dataset has, whether points fill them or not. */
const COLUMNS = 20;

const HELP = `npm run dev -- --verbose | tee LOG      (ask something, then Ctrl-C)
CLICKHOUSE="clickhouse local --query" npm run queries -- --log LOG

Makes the points of a log's requests as the Worker makes them, and runs the queries of ${DOCUMENT} over them.
CLICKHOUSE is a command that takes SQL as its last word; \`python3 -m chdb\` (PyPI's chdb) is one, too.

  --log FILE   lines of \`npm run dev -- --verbose\` or \`wrangler tail\`
  --help       this text`;

const entrySchema = z.looseObject({
  time: z.iso.datetime(),
  event: z.templateLiteral(["chat.", z.enum(["completed", "cancelled", "failed"] satisfies Ending[])]),
  tenant: z.string(),
  key_id: z.string(),
  fingerprint: z.string(),
  first_exit: z.number(),
  exit: z.number(),
  tier: z.enum(["edge", "origin"]),
  route: z.string(),
  cache: z.string().optional(),
  tokens_by_exit: z.record(z.string(), z.number()),
  cached_tokens: z.number(),
  cost_micro_usd: z.number(),
  full_depth_cost_micro_usd: z.number(),
  first_token_ms: z.number().nullable(),
  duration_ms: z.number(),
  "gen_ai.operation.name": z.enum(["chat", "text_completion"]),
  "gen_ai.request.model": z.string(),
  "gen_ai.usage.input_tokens": z.number(),
});

/** A point as a row of the dataset; null for a line that is no answer's. */
function rowOf(line: string): object | null {
  const start = line.indexOf("{");
  let json: unknown;
  try {
    json = JSON.parse(line.slice(start));
  } catch {
    return null;
  }
  const parsed = entrySchema.safeParse(json);
  if (!parsed.success) return null;
  const entry = parsed.data;
  const record: AnswerRecord = {
    ending: entry.event.slice("chat.".length) as Ending,
    requestId: "",
    tenant: entry.tenant,
    keyId: entry.key_id,
    fingerprint: entry.fingerprint,
    operation: entry["gen_ai.operation.name"],
    choices: 1,
    requestModel: entry["gen_ai.request.model"],
    responseModel: "",
    firstExit: entry.first_exit,
    firstTier: entry.tier,
    exit: entry.exit,
    tier: entry.tier,
    route: entry.route,
    cache: entry.cache ?? null,
    finishReasons: [],
    inputTokens: entry["gen_ai.usage.input_tokens"],
    cachedTokens: entry.cached_tokens,
    tokensByExit: entry.tokens_by_exit,
    cost: entry.cost_micro_usd,
    fullDepthCost: entry.full_depth_cost_micro_usd,
    firstTokenMs: entry.first_token_ms,
    durationMs: entry.duration_ms,
    timings: null,
    traceId: null,
  };
  const { indexes, blobs, doubles } = dataPoint(record);
  return {
    timestamp: entry.time.slice(0, 19).replace("T", " "),
    _sample_interval: 1,
    index1: indexes[0],
    ...Object.fromEntries(Array.from({ length: COLUMNS }, (_, at) => [`blob${at + 1}`, blobs[at] ?? ""])),
    ...Object.fromEntries(Array.from({ length: COLUMNS }, (_, at) => [`double${at + 1}`, doubles[at] ?? 0])),
  };
}

function structure(): string {
  const of = (name: string, type: string) => Array.from({ length: COLUMNS }, (_, at) => `${name}${at + 1} ${type}`);
  return [
    "timestamp DateTime",
    "_sample_interval UInt32",
    "index1 String",
    ...of("blob", "String"),
    ...of("double", "Float64"),
  ].join(", ");
}

/** The document's queries, each behind its comment. */
function documented(): string[] {
  const [, sql = ""] = /^```sql\n([\s\S]*?)^```$/m.exec(readFileSync(DOCUMENT, "utf8")) ?? [];
  return sql.trim().split(/\n\n+/);
}

const { values } = parseArgs({ options: { log: { type: "string" }, help: { type: "boolean", default: false } } });
const [program, ...args] = (process.env["CLICKHOUSE"] ?? "").split(" ");
if (values.help) console.log(HELP);
else if (values.log === undefined || !program) {
  console.error(HELP);
  process.exitCode = 2;
} else {
  const rows = readFileSync(values.log, "utf8")
    .split("\n")
    .map(rowOf)
    .filter((row) => row !== null);
  const folder = mkdtempSync(join(tmpdir(), "sortie-queries-"));
  const file = join(folder, "points.jsonl");
  writeFileSync(file, rows.map((row) => JSON.stringify(row)).join("\n"));
  const table = `WITH sortie_requests AS (SELECT * FROM file('${file}', JSONEachRow, '${structure()}'))`;
  console.log(`${rows.length} requests`);
  for (const query of documented()) {
    const [comment = "", ...select] = query.split("\n");
    console.log(`\n${comment}`);
    console.log(
      execFileSync(program, [...args, `${table} ${select.join("\n")} FORMAT CSVWithNames`], { encoding: "utf8" }),
    );
  }
  rmSync(folder, { recursive: true });
}
