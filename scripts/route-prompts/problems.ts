/** Labelled prompts of others as prediction problems: texts, what is to be predicted of them, and who may learn from whom. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { shuffled } from "../calibrate/random.ts";
import { readCsv } from "./csv.ts";

const FOLDS = 5;
const SEED = 17;
/** A model's answer counts as right from here on; most scores are 0 or 1, those of a few tasks lie between. */
const RIGHT = 0.5;

export interface Problem {
  readonly name: string;
  readonly texts: readonly string[];
  /** Kind of task of each text; null: there is one kind. */
  readonly tasks: readonly string[] | null;
  /** By model. */
  readonly right: ReadonlyMap<string, readonly boolean[]>;
  /** Which of them is asked first, and which is asked when that is not enough. */
  readonly weak: string;
  readonly strong: string;
}

/** A way to split: the part of each text; what is said of a part is learned from the others. */
export interface Split {
  readonly name: string;
  readonly parts: readonly number[];
}

const scoredSchema = z.array(z.object({ question: z.string(), scores: z.record(z.string(), z.number()) }));
const querySchema = z.object({ query: z.string(), task_name: z.string() });

/**
 * LLMRouter's prompts with the scores of nine models; task names are joined by the text.
 * @param every whether all nine are predicted, or only the weak and the strong one
 */
export function nineModels(folder: string, every: boolean): Problem {
  const rows = scoredSchema.parse(JSON.parse(readFileSync(join(folder, "llmrouter_dc_train.json"), "utf8")));
  const lines = readFileSync(join(folder, "llmrouter_query_train.jsonl"), "utf8").split("\n").filter(Boolean);
  const tasks = new Map(
    lines.map((line) => querySchema.parse(JSON.parse(line))).map((row) => [row.query, row.task_name]),
  );
  const [weak, strong] = ["mistral-7b-instruct-v0.3", "llama-3.3-nemotron-super-49b-v1"] as const;
  const models = every ? Object.keys(rows[0]?.scores ?? {}).toSorted() : [weak, strong];
  return {
    name: "nine models",
    texts: rows.map(({ question }) => question),
    tasks: rows.map(({ question }) => tasks.get(question) ?? "unknown"),
    right: new Map(models.map((model) => [model, rows.map(({ scores }) => (scores[model] ?? 0) >= RIGHT)])),
    weak,
    strong,
  };
}

/** RouteLLM's GSM8K answers of a weak and a strong model. */
export function gsm8k(folder: string): Problem {
  const [head = [], ...rows] = readCsv(readFileSync(join(folder, "routellm_gsm8k_responses.csv"), "utf8"));
  const [weak = "", strong = ""] = head.slice(1, 3);
  const column = (at: number): boolean[] => rows.map((row) => row[at] === "True");
  return {
    name: "gsm8k",
    texts: rows.map((row) => row[0] ?? ""),
    tasks: null,
    right: new Map([
      [weak, column(1)],
      [strong, column(2)],
    ]),
    weak,
    strong,
  };
}

/** At random; and, where tasks are known, whole tasks together. */
export function splitsOf({ texts, tasks }: Problem): Split[] {
  const order = shuffled(texts.length, SEED);
  const random: number[] = [];
  for (const [at, row] of order.entries()) random[row] = at % FOLDS;
  const splits: Split[] = [{ name: "at random", parts: random }];
  if (tasks !== null) {
    const names = [...new Set(tasks)].toSorted();
    splits.push({ name: "tasks held out", parts: tasks.map((task) => names.indexOf(task) % FOLDS) });
  }
  return splits;
}

/** What is predicted: whether the weak model's answer is as good as the strong one's, and the models' answers. */
export function labelsOf({ right, weak, strong }: Problem): Map<string, readonly boolean[]> {
  const strongRight = right.get(strong) ?? [];
  const asGood = (right.get(weak) ?? []).map((is, at) => is || strongRight[at] !== true);
  return new Map([["as good", asGood], ...right]);
}
