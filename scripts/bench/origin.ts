/** `npm run bench:origin`: the engine in Node. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { openBundle } from "../../src/model/bundle.ts";
import { loadEngine } from "../../src/model/engine.ts";
import { folderSource } from "../../src/model/node-source.ts";
import { nodeRuntime } from "../../src/model/runtime-node.ts";
import { type BenchModel, PRODUCTS_FOLDER, smollm2, tiny, writeProducts } from "./models.ts";
import { benchMain, type BenchOptions } from "./options.ts";
import { digits, table } from "./report.ts";
import { interleave, type Subject } from "./rounds.ts";
import { exitTable, productsName, subjectName, summarise } from "./summary.ts";
import { timeEngine, timeProducts, warmUpProducts } from "./timing.ts";

const HELP = `Usage: npm run bench:origin [-- options]

Speed in Node (onnxruntime-node, one thread a core): models/tiny and SmolLM2-135M's shape with random weights at
every exit, beside the bare W8A8 matrix products of the same sizes. Ends with one line of JSON.
`;

const SMOLLM2_EXITS = [6, 12, 30];

const clock = async () => performance.now();

interface Loaded {
  readonly model: string;
  readonly load_ms: number;
  readonly warm_up_ms: number;
}

async function subjectsOf(
  model: BenchModel,
  options: BenchOptions,
): Promise<{ loaded: Loaded; subjects: Subject[]; dispose: () => Promise<void> }> {
  process.stderr.write(`loading ${model.name}\n`);
  const source = folderSource(model.bundle);
  const runtime = nodeRuntime();
  const started = performance.now();
  const engine = await loadEngine({ bundle: await openBundle(source), source, runtime });
  const opened = performance.now();
  await engine.warmUp();
  const loaded = { model: model.name, load_ms: opened - started, warm_up_ms: performance.now() - opened };
  const subjects: Subject[] = [];
  for (const exit of model.exits) {
    const { context, tokens } = options;
    const measure = async () => ({ ...(await timeEngine(engine, { exit, context, tokens }, clock)) });
    const { graph, weights, widths } = writeProducts(model, exit);
    const read = (path: string) => new Uint8Array(readFileSync(join(PRODUCTS_FOLDER, path)));
    const session = await runtime.create(
      read(graph),
      weights.map((path) => ({ path, data: read(path) })),
    );
    await warmUpProducts(session, widths, clock, runtime.warmUpMs);
    const products = async () => ({ ms_per_run: await timeProducts(session, widths, tokens, clock) });
    subjects.push({ name: subjectName(model.name, exit), measure });
    subjects.push({ name: productsName(model.name, exit), measure: products });
  }
  return { loaded, subjects, dispose: () => engine.dispose() };
}

async function run(options: BenchOptions): Promise<void> {
  const models = [await tiny(), await smollm2(SMOLLM2_EXITS, options.keep)];
  const parts = [];
  for (const model of models) parts.push(await subjectsOf(model, options));
  const results = await interleave(
    parts.flatMap(({ subjects }) => subjects),
    options.rounds,
    (round) => process.stderr.write(`round ${round} of ${options.rounds}\n`),
  );
  for (const { dispose } of parts) await dispose();

  const exits = models.flatMap(({ name, exits: all }) => all.map((exit) => summarise(results, name, exit, options)));
  const loads = parts.map(({ loaded }) => loaded);
  console.log(`${exitTable(exits)}\n`);
  console.log(
    `${table(
      ["loaded", "load ms", "warm-up ms"],
      loads.map(({ model, load_ms, warm_up_ms }) => [model, digits(load_ms), digits(warm_up_ms)]),
    )}\n`,
  );
  console.log(JSON.stringify({ bench: "origin", ...options, exits, loads }));
}

await benchMain(HELP, run);
