/**
 * `npm run calibrate`: what each exit gets right on validation prompts → the gates' parameters, router.json.
 * Rows are split by the hash of their id: fitting, thresholds, and a report on rows that neither has seen.
 */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { readCatalogue, type Catalogue } from "../src/catalogue.ts";
import { loadEngine } from "../src/model/engine.ts";
import { folderSource } from "../src/model/node-source.ts";
import { nodeRuntime } from "../src/model/runtime-node.ts";
import { prefillFeatures, scorePrefill } from "../src/policy/prefill-gate.ts";
import { scoreFeatures } from "../src/policy/prompt-gate.ts";
import { parseRouter, ROUTER_FORMAT, type Router, type RouterFile } from "../src/policy/router.ts";
import { hash32, promptFeatures } from "../src/policy/text-features.ts";
import { build } from "./build.ts";
import { areaUnderCurve, fitLogistic, fitPlatt, predict, quantise } from "./calibrate/fit.ts";
import { labelRow, type ExitLabel } from "./calibrate/label.ts";
import { readRows, type Row } from "./calibrate/rows.ts";
import { chooseThresholds, play, type Labelled } from "./calibrate/thresholds.ts";
import { progressLine } from "./export/progress.ts";

/** 4,096 buckets × 4 exits are 16 kB: few collisions among the words of a domain. */
const BUCKETS = 4096;
/** Ridge penalty: rows are few against buckets. */
const L2 = 1e-4;

const HELP = `npm run calibrate [-- options]

Answers the validation rows at every exit, fits the gates and writes router.json beside the checkpoint.

  --checkpoint DIR   the bundle's checkpoint          (models/tiny)
  --bundle DIR       its bundle                       (build/bundle, built if missing)
  --rows FILE        chat rows with checkers          (CHECKPOINT/validation.jsonl)
  --target 0.99      share of the deepest exit's quality to keep
  --edge-exits 3,6   exits that the edge serves
  --help             this text`;

interface Sample {
  readonly row: Row;
  readonly labels: readonly ExitLabel[];
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      checkpoint: { type: "string", default: "models/tiny" },
      bundle: { type: "string", default: "build/bundle" },
      rows: { type: "string" },
      target: { type: "string", default: "0.99" },
      "edge-exits": { type: "string", default: "3,6" },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) return console.log(HELP);
  const target = Number(values.target);
  if (!(target > 0 && target <= 1)) throw new Error(`--target must be above 0 and at most 1, it is ${values.target}`);
  if (values.bundle === "build/bundle") await build();
  const catalogue = await readCatalogue(folderSource(values.bundle));
  const samples = await label(
    catalogue,
    values.bundle,
    readRows(values.rows ?? join(values.checkpoint, "validation.jsonl")),
  );
  const edgeExits = values["edge-exits"].split(",").map(Number);
  const file = calibrate(catalogue, samples, target, edgeExits);
  const path = join(values.checkpoint, "router.json");
  writeFileSync(path, `${JSON.stringify(file, null, 1)}\n`);
  console.log(`${path}: thresholds ${JSON.stringify(file.thresholds)}`);
  console.log(JSON.stringify(file.report, null, 1));
}

/** Runs every exit over every row. */
async function label(catalogue: Catalogue, folder: string, rows: readonly Row[]): Promise<Sample[]> {
  const { bundle } = catalogue;
  const engine = await loadEngine({ bundle, source: folderSource(folder), runtime: nodeRuntime() });
  const progress = progressLine(process.stderr);
  const samples: Sample[] = [];
  for (const row of rows) {
    progress(samples.length, rows.length, `${bundle.exits.length} exits`);
    samples.push({ row, labels: await labelRow(engine, catalogue, row) });
  }
  progress(rows.length, rows.length, "done");
  await engine.dispose();
  return samples;
}

/** Tenths 0–5 fit the gates, 6–7 the thresholds, 8–9 are reported on. */
const tenth = (sample: Sample): number => hash32(sample.row.id) % 10;

/** Labels to parameters. Pure. */
function calibrate(
  { bundle }: Catalogue,
  samples: readonly Sample[],
  target: number,
  edgeExits: readonly number[],
): RouterFile {
  const fitting = samples.filter((sample) => tenth(sample) <= 5);
  const choosing = samples.filter((sample) => tenth(sample) === 6 || tenth(sample) === 7);
  const reporting = samples.filter((sample) => tenth(sample) >= 8);
  /** What the gates predict: this exit's answer is as good as the deepest exit's. */
  const good = (sample: Sample, exit: number): boolean =>
    sample.labels[exit]?.right === true || sample.labels.at(-1)?.right !== true;
  const features = (sample: Sample) => promptFeatures(sample.row.messages.slice(0, -1), BUCKETS);

  const rows = bundle.exits.map((_, exit) => {
    const fitted = fitLogistic(
      fitting.map(features),
      fitting.map((s) => good(s, exit)),
      BUCKETS,
      L2,
    );
    const scores = choosing.map((sample) => predict(fitted, features(sample)));
    const { slope, offset } = fitPlatt(
      scores,
      choosing.map((s) => good(s, exit)),
    );
    const { values, scale } = quantise(fitted.weights);
    return { values, scale: scale * slope, bias: fitted.bias * slope + offset };
  });
  const prompt = {
    buckets: BUCKETS,
    weights: Buffer.concat(rows.map(({ values }) => Buffer.from(values.buffer))).toString("base64"),
    scale: rows.map(({ scale }) => scale),
    bias: rows.map(({ bias }) => bias),
  };
  const draft: RouterFile = {
    format: ROUTER_FORMAT,
    fingerprint: bundle.fingerprint,
    exits: [...bundle.exits],
    quality_target: target,
    prompt,
    prefill: [],
    thresholds: { prompt: 1, prefill: 0 },
    report: {},
  };
  const router = parseRouter(draft, bundle);
  const prefill = bundle.exits.slice(0, -1).map((exit, index) => {
    const inputs = choosing.map((sample) => probeInputs(router, sample, index));
    const vectors = inputs.map((values) => new Map(values.entries()));
    const { weights, bias } = fitLogistic(
      vectors,
      choosing.map((s) => good(s, index)),
      inputs[0]?.length ?? 0,
      L2,
    );
    return { exit, weights: [...weights], bias };
  });
  const gates = parseRouter({ ...draft, prefill }, bundle);
  const now = {
    exits: bundle.exits,
    edgeExits: bundle.exits.filter((exit) => edgeExits.includes(exit)),
    originConfigured: true,
  };
  const { thresholds } = chooseThresholds(
    choosing.map((sample) => labelled(gates, sample)),
    target,
    now,
  );
  const held = reporting.map((sample) => labelled(gates, sample));
  const share = (truth: readonly boolean[]): number => truth.filter(Boolean).length / Math.max(truth.length, 1);
  const right = bundle.exits.map((_, index) => share(held.map((row) => row.right[index] === true)));
  const shallower = bundle.exits.slice(0, -1).map((exit, index) => {
    const truth = reporting.map((sample) => good(sample, index));
    const scores = held.map((row) => row.promptScores[index] ?? 0);
    const accuracy = share(truth.map((value, at) => value === (scores[at] ?? 0) >= 0.5));
    return {
      exit,
      right: right[index] ?? 0,
      as_good_as_deepest: share(truth),
      gate_1_auc: areaUnderCurve(scores, truth),
      gate_1_accuracy: accuracy,
    };
  });
  const report = {
    rows: { fitting: fitting.length, thresholds: choosing.length, reported: held.length },
    exits: shallower.map(rounded),
    cascade: rounded({ ...play(held, thresholds, now) }),
    always_deepest: rounded({ quality: right.at(-1) ?? 0, cost: 1 }),
  };
  return { ...draft, prefill, thresholds, report };
}

function probeInputs(router: Router, sample: Sample, exit: number): number[] {
  const scores = scoreFeatures(router, promptFeatures(sample.row.messages.slice(0, -1), router.buckets));
  const first = sample.labels[exit]?.first;
  if (!first) throw new Error(`row ${sample.row.id} has no label at exit ${router.exits[exit]}`);
  return prefillFeatures(scores[exit] ?? 0, first);
}

/** A row as the gates see it, with the truth beside it. */
function labelled(router: Router, sample: Sample): Labelled {
  const promptScores = scoreFeatures(router, promptFeatures(sample.row.messages.slice(0, -1), router.buckets));
  const prefillScores = router.exits.map((exit, index) => {
    const probe = router.prefill.get(exit);
    const first = sample.labels[index]?.first;
    return probe && first ? scorePrefill(probe, promptScores[index] ?? 0, first) : 1;
  });
  return { promptScores, prefillScores, right: sample.labels.map(({ right }) => right) };
}

/** Three decimals: the rest is noise on some hundred rows. */
function rounded(values: Record<string, number>): Record<string, number> {
  return Object.fromEntries(Object.entries(values).map(([name, value]) => [name, Math.round(value * 1000) / 1000]));
}

await main();
