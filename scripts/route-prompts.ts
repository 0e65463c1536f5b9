/**
 * `npm run route-prompts`: gate 1's own code on labels that nobody here made, beside logistic regression on TF–IDF
 * (scikit-learn) on the same splits. An experiment: it needs the data and gpu-backend/.venv, and no test runs it.
 */
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { resolve } from "node:path";
import { parseArgs } from "node:util";
import { z } from "zod";
import { promptFeatures } from "../src/policy/text-features.ts";
import { table } from "./bench/report.ts";
import { interval, resamples } from "./calibrate/bootstrap.ts";
import { areaUnderCurve, predict } from "./calibrate/fit.ts";
import { BUCKETS, fitPrompt } from "./calibrate/gates.ts";
import { progressLine } from "./export/progress.ts";
import { apgr, cpt, curveOf, type Outcome } from "./route-eval/metrics.ts";
import { gsm8k, labelsOf, nineModels, splitsOf, type Problem, type Split } from "./route-prompts/problems.ts";

const PYTHON = "gpu-backend/.venv/bin/python";
const EXCHANGE = "build/route-prompts";
/** Points of a curve. */
const STEPS = 100;

const HELP = `npm run route-prompts [-- options]

Trains and tests gate 1 on prompts labelled by others: llmrouter_dc_train.json with llmrouter_query_train.jsonl (nine
models), routellm_gsm8k_responses.csv (two). Every prediction is made by a model that has not seen the prompt; with
tasks held out, none of its task. Needs gpu-backend/.venv with scikit-learn for the comparison.

  --data DIR      folder of the three files   (../shared/data/router)
  --every-model   predicts all nine models' answers, not only those of the pair that is routed between (slow)
  --help          this text`;

/** Predictions by label, in the order of the texts. */
type Predictions = Readonly<Record<string, readonly number[]>>;

function main(): void {
  const { values } = parseArgs({
    options: {
      data: { type: "string", default: "../shared/data/router" },
      "every-model": { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) return console.log(HELP);
  if (!existsSync(values.data)) throw new Error(`There is no ${values.data}: name the data's folder with --data.`);
  const found: Record<string, unknown>[] = [];
  for (const problem of [nineModels(values.data, values["every-model"]), gsm8k(values.data)]) {
    for (const split of splitsOf(problem)) {
      const theirs = tfidf(problem, split);
      const ours = gateOne(problem, split);
      for (const [name, predictions] of Object.entries({ "gate 1": ours, "TF–IDF": theirs })) {
        found.push({ problem: problem.name, split: split.name, classifier: name, ...measured(problem, predictions) });
      }
    }
  }
  const columns = ["problem", "split", "classifier", "auc", "auc_within_tasks", "auc_models", "apgr", "cpt50", "cpt80"];
  console.log(
    table(
      columns,
      found.map((row) => columns.map((column) => shown(row[column]))),
    ),
  );
  console.log(JSON.stringify(found));
}

/** Gate 1, its features and its fit; the penalty is chosen on the known parts alone, as calibration chooses it. */
function gateOne(problem: Problem, { parts, name }: Split): Predictions {
  const features = problem.texts.map((content) => promptFeatures([{ role: "user", content }], BUCKETS));
  const labels = labelsOf(problem);
  const progress = progressLine(process.stderr);
  const folds = [...new Set(parts)];
  let done = 0;
  const of = (truth: readonly boolean[]): number[] => {
    const scores: number[] = [];
    for (const fold of folds) {
      progress(done++, folds.length * labels.size, `${problem.name}, ${name}`);
      const known = parts.map((_, at) => at).filter((at) => parts[at] !== fold);
      const { model } = fitPrompt(
        known.map((at) => features[at]!),
        known.map((at) => truth[at] === true),
      );
      for (const [at, row] of features.entries()) if (parts[at] === fold) scores[at] = predict(model, row);
    }
    return scores;
  };
  return Object.fromEntries([...labels].map(([label, truth]) => [label, of(truth)]));
}

const repliesSchema = z.record(z.string(), z.array(z.number()));

/** The comparison: gpu-backend/sortie/experiments/tfidf.py. */
function tfidf(problem: Problem, { parts }: Split): Predictions {
  mkdirSync(EXCHANGE, { recursive: true });
  const [asked, answered] = [resolve(EXCHANGE, "asked.json"), resolve(EXCHANGE, "answered.json")];
  const labels = Object.fromEntries([...labelsOf(problem)].map(([name, truth]) => [name, truth.map(Number)]));
  writeFileSync(asked, JSON.stringify({ texts: problem.texts, parts, labels }));
  const run = spawnSync(resolve(PYTHON), ["-m", "sortie.experiments.tfidf", asked, answered], {
    cwd: "gpu-backend",
    stdio: "inherit",
  });
  if (run.status !== 0)
    throw new Error("sortie.experiments.tfidf failed: pip install scikit-learn into gpu-backend/.venv");
  return repliesSchema.parse(JSON.parse(readFileSync(answered, "utf8")));
}

function measured(problem: Problem, predictions: Predictions) {
  const labels = labelsOf(problem);
  const scores = predictions["as good"] ?? [];
  const truth = labels.get("as good") ?? [];
  const right = (model: string): number[] => (problem.right.get(model) ?? []).map(Number);
  const outcome = (strong: (at: number) => boolean): Outcome => ({
    right: problem.texts.map((_, at) => right_(strong(at), at)),
    cost: problem.texts.map((_, at) => Number(strong(at))),
  });
  const [weakRight, strongRight] = [right(problem.weak), right(problem.strong)];
  const right_ = (strong: boolean, at: number): number => (strong ? strongRight[at] : weakRight[at]) ?? 0;
  const order = scores.map((_, at) => at).toSorted((a, b) => (scores[a] ?? 0) - (scores[b] ?? 0));
  const rank: number[] = [];
  for (const [place, at] of order.entries()) rank[at] = place;
  const points = Array.from({ length: STEPS - 1 }, (_, step) =>
    outcome((at) => (rank[at] ?? 0) < ((step + 1) / STEPS) * scores.length),
  );
  const ends = { shallowest: outcome(() => false), deepest: outcome(() => true) };
  const curve = (weights: ArrayLike<number>) => curveOf({ name: "", points }, ends, weights);
  const ones = new Uint8Array(scores.length).fill(1);
  const area = interval(resamples(scores.length), scores.length, (weights) => apgr(curve(weights)));
  const aucs = [...problem.right].map(([model, is]) => areaUnderCurve(predictions[model] ?? [], is));
  return {
    prompts: scores.length,
    weak: mean(weakRight),
    strong: mean(strongRight),
    auc: areaUnderCurve(scores, truth),
    auc_within_tasks: problem.tasks === null ? null : withinTasks(problem.tasks, scores, truth),
    auc_models: mean(aucs),
    apgr: area.value,
    apgr_lower: area.lower,
    apgr_upper: area.upper,
    cpt50: cpt(curve(ones), 0.5),
    cpt80: cpt(curve(ones), 0.8),
  };
}

/** Mean of the tasks' own areas, weighted by their rows: what is left when the task is known. */
function withinTasks(tasks: readonly string[], scores: readonly number[], truth: readonly boolean[]): number {
  let [sum, rows] = [0, 0];
  for (const name of new Set(tasks)) {
    const at = tasks.map((_, row) => row).filter((row) => tasks[row] === name);
    const area = areaUnderCurve(
      at.map((row) => scores[row] ?? 0),
      at.map((row) => truth[row] === true),
    );
    if (Number.isNaN(area)) continue;
    sum += area * at.length;
    rows += at.length;
  }
  return sum / rows;
}

const mean = (values: readonly number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length;
function shown(value: unknown): string {
  if (typeof value === "number") return value.toFixed(3);
  return typeof value === "string" ? value : "";
}

main();
