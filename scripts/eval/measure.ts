/** How good every exit of a bundle is on chat rows with checkers: exact match and negative log-likelihood. */
import type { Catalogue } from "../../src/catalogue.ts";
import type { Engine } from "../../src/model/engine.ts";
import { check } from "../calibrate/checkers.ts";
import { answerRow, answerText } from "../calibrate/label.ts";
import type { Row } from "../calibrate/rows.ts";
import { mean, teacherForced } from "./teacher-forced.ts";

/** One row at one exit. */
export interface Score {
  readonly split: string;
  readonly family: string;
  readonly exit: number;
  /** Whether the greedy answer passes the row's checker. */
  readonly right: boolean;
  /** Mean over the reference answer's tokens, the end token included, in nats. */
  readonly nll: number;
  /** The greedy answer. */
  readonly answer: string;
}

/** @returns one score an exit of the engine. @throws EngineError when the row does not fit the context. */
export async function scoreRow(engine: Engine, catalogue: Catalogue, row: Row): Promise<Score[]> {
  const { checker, reference: words } = row;
  if (checker === null || words === null) throw new Error(`row ${row.key} has no checker, or no reference answer`);
  const prompt = catalogue.template.encode(row.prompt);
  const reference = catalogue.tokenizer.encode(words);
  const ids = [...prompt, ...reference, ...catalogue.bundle.eos_token_ids.slice(0, 1)];
  const nll = (await teacherForced(engine, ids, prompt.length - 1)).map(mean);
  const answers = (await answerRow(engine, catalogue, row)).map(({ answer }) => answerText(catalogue, answer));
  return engine.exits.map((exit, i) => ({
    split: row.split,
    family: row.family,
    exit,
    right: check(checker, answers[i]!),
    nll: nll[i]!,
    answer: answers[i]!,
  }));
}

/** Means over rows of one group at one exit. */
export interface Cell {
  readonly rows: number;
  /** Share from 0 to 1. */
  readonly exactMatch: number;
  /** Nats. */
  readonly nll: number;
}

/** `{group: {exit: cell}}`, the groups being `all` and what `groupsOf` says of a score. */
export function summarise(
  scores: readonly Score[],
  groupsOf: (score: Score) => readonly string[] = ({ split, family }) => [`${split} all`, `${split} ${family}`],
): Record<string, Record<string, Cell>> {
  const members = new Map<string, Map<number, Score[]>>();
  for (const score of scores) {
    for (const group of ["all", ...groupsOf(score)]) {
      const exits = members.get(group) ?? new Map<number, Score[]>();
      members.set(group, exits);
      exits.set(score.exit, [...(exits.get(score.exit) ?? []), score]);
    }
  }
  const cell = (group: readonly Score[]): Cell => ({
    rows: group.length,
    exactMatch: mean(group.map(({ right }) => (right ? 1 : 0))),
    nll: mean(group.map(({ nll }) => nll)),
  });
  const sorted = Array.from(members).sort(([left], [right]) => left.localeCompare(right));
  return Object.fromEntries(
    sorted.map(([group, exits]) => [
      group,
      Object.fromEntries(Array.from(exits, ([exit, group_]) => [String(exit), cell(group_)])),
    ]),
  );
}

/** Every `n`-th row where there are more than `limit`: a sample of every family, the same every time. */
export function thin<T>(rows: readonly T[], limit: number): T[] {
  const stride = Math.max(1, rows.length / limit);
  return Array.from({ length: Math.min(limit, rows.length) }, (_, i) => rows[Math.floor(i * stride)]!);
}
