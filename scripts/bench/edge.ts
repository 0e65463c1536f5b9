/** `npm run bench:edge`: the engine in workerd. */
import type { BenchResult, LoadResult } from "../../test/worker/fixtures/engine/protocol.ts";
import { type EngineWorker, startEngineWorker } from "../../test/worker/fixtures/engine/start.ts";
import {
  type BenchModel,
  fourBitName,
  PRODUCTS_FOLDER,
  smollm2,
  smollm2FourBit,
  tiny,
  writeProducts,
} from "./models.ts";
import { benchMain, type BenchOptions } from "./options.ts";
import { digits, megabytes, table } from "./report.ts";
import { figures, interleave, median, ratio, type Results, type Subject } from "./rounds.ts";
import { exitTable, productsName, subjectName, summarise } from "./summary.ts";

const HELP = `Usage: npm run bench:edge [-- options]

Speed in workerd, inside the memory that bounds an isolate: models/tiny at every exit, SmolLM2-135M's shape with
random weights at exits 6 and 12, the latter beside their bare W8A8 matrix products and a 4-bit MatMulNBits version.
Ends with one line of JSON.
`;

/** An isolate's memory: 1,600 WebAssembly pages of 64 KiB and 100 MB of JavaScript (DESIGN section 14). */
const ISOLATE_FLAGS = "--wasm-max-mem-pages=1600 --max-old-space-size=100";
const FLAGS_VARIABLE = "MINIFLARE_WORKERD_V8_FLAGS";
const SMOLLM2_EXITS = [6, 12];
/** The 4-bit version decodes this part of the others' tokens: it is that much slower. */
const FOUR_BIT_SHARE = 0.25;

/** @param flags V8's, null: none. */
async function start(folder: string, flags: string | null): Promise<EngineWorker> {
  const before = process.env[FLAGS_VARIABLE];
  process.env[FLAGS_VARIABLE] = flags ?? "";
  try {
    return await startEngineWorker(folder);
  } finally {
    if (before === undefined) delete process.env[FLAGS_VARIABLE];
    else process.env[FLAGS_VARIABLE] = before;
  }
}

/** One Worker, what it answered to /load, and the exits measured in it. */
interface Loaded {
  readonly label: string;
  readonly worker: EngineWorker;
  readonly result: LoadResult;
  readonly subjects: readonly Subject[];
}

/** Starts a Worker that holds the model up to the deepest of `exits`, to be measured at each of them. */
async function load(
  label: string,
  model: BenchModel,
  exits: readonly number[],
  flags: string | null,
  options: BenchOptions,
): Promise<Loaded> {
  process.stderr.write(`loading ${label}\n`);
  const worker = await start(model.bundle, flags);
  const result = await worker.call<LoadResult>("/load", { exits });
  return { label, worker, result, subjects: exits.map((exit) => exitSubject(model, worker, exit, options)) };
}

function exitSubject({ name }: BenchModel, worker: EngineWorker, exit: number, options: BenchOptions): Subject {
  const { context, tokens } = options;
  const measure = async () => ({ ...(await worker.call<BenchResult>("/bench", { exit, context, tokens })) });
  return { name: subjectName(name, exit), measure };
}

/** Writes an exit's products, lets the Worker open them and measures them. */
async function productsSubject(
  worker: EngineWorker,
  model: BenchModel,
  exit: number,
  { tokens }: BenchOptions,
): Promise<Subject> {
  const body = { ...writeProducts(model, exit), runs: tokens };
  const measure = () => worker.call<{ ms_per_run: number }>("/products", body);
  await measure();
  return { name: productsName(model.name, exit), measure };
}

interface Memory {
  readonly label: string;
  readonly load_ms: number;
  readonly warm_up_ms: number;
  readonly heap_bytes_loaded: number;
  readonly heap_bytes_after: number;
}

function memoryOf({ label, result, subjects }: Loaded, results: Results): Memory {
  const heaps = subjects.flatMap(({ name }) => figures(results, name, "heap_bytes"));
  const { load_ms, warm_up_ms, heap_bytes } = result;
  return { label, load_ms, warm_up_ms, heap_bytes_loaded: heap_bytes, heap_bytes_after: Math.max(...heaps) };
}

function memoryTable(rows: readonly Memory[]): string {
  return table(
    ["loaded", "load ms", "warm-up ms", "heap after load", "heap after rounds"],
    rows.map((row) => [
      row.label,
      digits(row.load_ms),
      digits(row.warm_up_ms),
      megabytes(row.heap_bytes_loaded),
      megabytes(row.heap_bytes_after),
    ]),
  );
}

async function run(options: BenchOptions): Promise<void> {
  const own = await tiny();
  const large = await smollm2(SMOLLM2_EXITS, options.keep);
  const fourBit = await smollm2FourBit(SMOLLM2_EXITS, options.keep);
  const workers: EngineWorker[] = [];
  const loaded: Loaded[] = [];
  const opened = async (
    label: string,
    model: BenchModel,
    exits: readonly number[],
    flags: string | null,
    tokens = options.tokens,
  ) => {
    const one = await load(label, model, exits, flags, { ...options, tokens });
    workers.push(one.worker);
    loaded.push(one);
  };
  try {
    await opened(own.name, own, own.exits, ISOLATE_FLAGS);
    // A Worker of its own for each depth: the slice up to exit 6 must fit by itself.
    for (const exit of SMOLLM2_EXITS) await opened(`${large.name} up to ${exit}`, large, [exit], ISOLATE_FLAGS);
    const fewer = Math.ceil(options.tokens * FOUR_BIT_SHARE);
    await opened(fourBit.name, fourBit, SMOLLM2_EXITS, null, fewer);
    const products = await start(PRODUCTS_FOLDER, null);
    workers.push(products);
    const bare: Subject[] = [];
    for (const model of [own, large]) {
      for (const exit of model.exits) bare.push(await productsSubject(products, model, exit, options));
    }
    // What is compared is measured one after the other: an exit, its products, its 4-bit version.
    const all = [...loaded.flatMap((one) => one.subjects), ...bare];
    const order = [own, large].flatMap(({ name, exits }) =>
      exits.flatMap((exit) => [
        subjectName(name, exit),
        productsName(name, exit),
        subjectName(fourBitName(name), exit),
      ]),
    );
    const subjects = order.flatMap((name) => all.filter((subject) => subject.name === name));
    const results = await interleave(subjects, options.rounds, (round) =>
      process.stderr.write(`round ${round} of ${options.rounds}\n`),
    );

    const exits = [own, large].flatMap((model) =>
      model.exits.map((exit) => summarise(results, model.name, exit, options)),
    );
    const decode = (name: string, exit: number) => figures(results, subjectName(name, exit), "decode_ms_per_token");
    const against = SMOLLM2_EXITS.map((exit) => ({
      exit,
      w8a8_ms: median(decode(large.name, exit)),
      four_bit_ms: median(decode(fourBit.name, exit)),
      times_faster: ratio(decode(fourBit.name, exit), decode(large.name, exit)),
    }));
    const memory = loaded.map((one) => memoryOf(one, results));
    console.log(`${exitTable(exits)}\n`);
    console.log(`${memoryTable(memory)}\n`);
    console.log(
      `${table(
        ["SmolLM2 shape, exit", "W8A8 ms", "4-bit ms", "times faster"],
        against.map((row) => [`${row.exit}`, digits(row.w8a8_ms), digits(row.four_bit_ms), digits(row.times_faster)]),
      )}\n`,
    );
    console.log(JSON.stringify({ bench: "edge", ...options, exits, memory, against_four_bit: against }));
  } finally {
    for (const worker of workers) await worker.stop();
  }
}

await benchMain(HELP, run);
