/** `npm run bench:handoff`: the first token after gate 2 hands off, against sending the prompt's tokens. */
import { cpus } from "node:os";
import { randomInt, randomUUID } from "node:crypto";
import { generationRequestSchema, type TokenEvent } from "../../src/generation.ts";
import type { Handoff } from "../../src/handoff.ts";
import { startNodeEngine, type NodeEngine } from "../../src/model/node-client.ts";
import { createOriginClient, type OriginClient } from "../../src/origin/client.ts";
import { encodeHandoff } from "../../src/origin/handoff-codec.ts";
import { start, stopAll } from "../dev/children.ts";
import { type BenchModel, tiny } from "./models.ts";
import { benchMain, type BenchOptions } from "./options.ts";
import { digits, table } from "./report.ts";
import { figures, interleave, median, ratio, type Results, type Subject } from "./rounds.ts";

const HELP = `Usage: npm run bench:handoff [-- options]

Milliseconds from gate 2's verdict to the origin's first token: the edge's state sent and resumed, against token ids
sent and read from layer 1. The embedded origin is a process of its own, asked over HTTP with signatures; the edge's
engine runs here. Every request has a prompt of its own. Ends with one line of JSON.
`;

/** The exit that reads at the edge, and the one that answers. */
const EDGE = 6;
const ORIGIN = 12;
/** Lengths of the prompts, in shares of --context: shorter, as asked, longer. */
const LENGTHS = [0.5, 1, 4];

interface Setting {
  readonly model: string;
  readonly edge: number;
  readonly origin: number;
  readonly tokens: number;
}

const nameOf = (way: string, { model, tokens }: Setting): string => `${model}/${tokens}/${way}`;

async function run(options: BenchOptions): Promise<void> {
  const settings: Setting[] = [];
  const subjects: Subject[] = [];
  const model = await tiny();
  const engine = await startNodeEngine({ directory: model.bundle, exits: [EDGE] });
  const client = await originOf(model);
  for (const share of LENGTHS) {
    const tokens = Math.round(options.context * share);
    const setting = { model: model.name, edge: EDGE, origin: ORIGIN, tokens };
    settings.push(setting);
    subjects.push(handedOff(engine, client, setting), sent(engine, client, setting));
  }
  const results = await interleave(subjects, options.rounds, (round) =>
    process.stderr.write(`round ${round} of ${options.rounds}\n`),
  );
  await engine.close();
  await stopAll();
  report(settings, results);
}

async function originOf(model: BenchModel): Promise<OriginClient> {
  const secret = randomUUID();
  const args = ["src/origin/server.ts", "--bundle", model.bundle, "--port", "0"];
  const child = start(
    `origin ${model.name}`,
    process.execPath,
    args,
    { ...process.env, ORIGIN_SECRET: secret },
    () => false,
  );
  const [, url = ""] = await child.waitForLine(/ready on (\S+)/);
  return createOriginClient({ url, secret, handoffs: "always" });
}

function prompt({ bundle }: NodeEngine, tokens: number): number[] {
  return Array.from({ length: tokens }, () => randomInt(bundle.shape.vocab_size));
}

/** The edge has read the prompt; from the verdict on. */
function handedOff(engine: NodeEngine, client: OriginClient, setting: Setting): Subject {
  return {
    name: nameOf("handoff", setting),
    async measure() {
      const ids = prompt(engine, setting.tokens);
      const began = performance.now();
      const state = await engine.prefill(ids, setting.edge, new AbortController().signal);
      const edge_ms = performance.now() - began;
      const bytes = encodeHandoff(state, requestOf(ids, setting)).length;
      return { ...(await firstToken(client, ids, setting, state)), edge_ms, bytes };
    },
  };
}

function sent(engine: NodeEngine, client: OriginClient, setting: Setting): Subject {
  return {
    name: nameOf("text", setting),
    measure: () => firstToken(client, prompt(engine, setting.tokens), setting, null),
  };
}

async function firstToken(client: OriginClient, ids: readonly number[], setting: Setting, state: Handoff | null) {
  const signal = new AbortController().signal;
  const began = performance.now();
  const events = await client.generate(requestOf(ids, setting), state, signal);
  const first_token_ms = performance.now() - began; // the client resolves with the first event
  let end: Extract<TokenEvent, { type: "end" }> | null = null;
  for await (const event of events) if (event.type === "end") end = event;
  if (end === null) throw new Error("the origin did not end its answer");
  return { first_token_ms, prefill_ms: end.timings.prefill_ms };
}

function requestOf(ids: readonly number[], { origin }: Setting) {
  return generationRequestSchema.parse({
    request_id: randomUUID(),
    token_ids: ids,
    exit_layer: origin,
    max_tokens: 2,
    sampling: { temperature: 0, seed: 0 },
    stop_token_ids: [],
  });
}

function report(settings: readonly Setting[], results: Results): void {
  const rows = settings.map((setting) => {
    const of = (way: string, figure: string): number[] => figures(results, nameOf(way, setting), figure);
    const handoff = of("handoff", "first_token_ms");
    const text = of("text", "first_token_ms");
    return {
      ...setting,
      handoff_ms: median(handoff),
      text_ms: median(text),
      ratio: ratio(handoff, text),
      edge_ms: median(of("handoff", "edge_ms")),
      megabytes: median(of("handoff", "bytes")) / 1e6,
      origin_prefill_ms: median(of("handoff", "prefill_ms")),
      origin_prefill_ms_of_text: median(of("text", "prefill_ms")),
    };
  });
  const columns = [
    "model",
    "prompt",
    "exits",
    "MB",
    "handoff ms",
    "text ms",
    "ratio",
    "origin reads, ms",
    "of text, ms",
    "edge ms",
  ];
  const cells = rows.map((row) => [
    row.model,
    String(row.tokens),
    `${row.edge} → ${row.origin}`,
    digits(row.megabytes),
    digits(row.handoff_ms),
    digits(row.text_ms),
    digits(row.ratio),
    digits(row.origin_prefill_ms),
    digits(row.origin_prefill_ms_of_text),
    digits(row.edge_ms),
  ]);
  console.log(table(columns, cells));
  console.log(JSON.stringify({ bench: "handoff", cores: cpus().length, results: rows }));
}

await benchMain(HELP, run);
