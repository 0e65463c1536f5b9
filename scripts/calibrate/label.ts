/** Every exit's answer to a row, what the gates would see of it, and what an escalation in mid-answer would make of it. */
import type { Catalogue } from "../../src/catalogue.ts";
import { GREEDY, type GenerationRequest } from "../../src/generation.ts";
import { createDetokenizer } from "../../src/model/detokenizer.ts";
import type { Engine } from "../../src/model/engine.ts";
import { generate, type PrefillFeatures } from "../../src/model/generate.ts";
import type { Sequence } from "../../src/model/sequence.ts";
import { check, normalise } from "./checkers.ts";
import type { Row } from "./rows.ts";

/** Tokens of an answer that are looked at; the longest answer of the generated world has about 40. */
export const MAX_ANSWER_TOKENS = 64;
/** Escalations tried after an exit has left the deepest exit's words: one later repairs no more than the last of them. */
const MAX_ESCALATIONS = 8;

/** One exit's answer. */
export interface ExitLabel {
  readonly right: boolean;
  /** Token ids. */
  readonly answer: readonly number[];
  readonly prefill: PrefillFeatures;
  /** Gate 3's input: probability of the most probable token, a token. */
  readonly confidences: readonly number[];
  /**
   * Whether the answer is right when the deepest exit goes on after `agreed + 1`, `agreed + 2`, … of this exit's tokens,
   * `agreed` being those that both say alike. Empty at the deepest exit.
   */
  readonly escalated: readonly boolean[];
}

export interface RowLabels {
  readonly promptTokens: number;
  /** In the order of the engine's exits. */
  readonly exits: readonly ExitLabel[];
}

/** Leading tokens that two answers share. */
export function agreement(left: readonly number[], right: readonly number[]): number {
  let length = 0;
  while (length < left.length && left[length] === right[length]) length++;
  return length;
}

/** Answers a row greedily at every exit of the engine: token ids, in the engine's order. */
export async function answerRow(engine: Engine, catalogue: Catalogue, row: Row): Promise<Answered[]> {
  const prompt = catalogue.template.encode(row.prompt);
  const sequence = engine.newSequence();
  const answers: Answered[] = [];
  for (const exit of engine.exits) answers.push(await answerAt(engine, sequence, prompt, exit, [], catalogue));
  return answers;
}

/** An answer as its client reads it. */
export function answerText({ tokenizer }: Catalogue, ids: readonly number[]): string {
  const detokenizer = createDetokenizer(tokenizer);
  return ids.map((id) => detokenizer.push(id).text).join("") + detokenizer.flush();
}

/** Answers a row at every exit, and tries what escalations would make of the shallower answers. */
export async function labelRow(engine: Engine, catalogue: Catalogue, row: Row): Promise<RowLabels> {
  const runs = await answerRow(engine, catalogue, row);
  const prompt = catalogue.template.encode(row.prompt);
  const sequence = engine.newSequence();
  const text = (ids: readonly number[]): string => answerText(catalogue, ids);
  const deepestExit = engine.exits.at(-1) ?? 0;
  const deepest = runs.at(-1)?.answer ?? [];
  const right = (ids: readonly number[]): boolean =>
    row.checker === null ? normalise(text(ids)) === normalise(text(deepest)) : check(row.checker, text(ids));

  const exits: ExitLabel[] = [];
  for (const { answer, prefill, confidences } of runs) {
    const escalated: boolean[] = [];
    const agreed = agreement(answer, deepest);
    for (let sent = agreed + 1; sent <= Math.min(answer.length, agreed + MAX_ESCALATIONS); sent++) {
      const rest = await answerAt(engine, sequence, prompt, deepestExit, answer.slice(0, sent), catalogue);
      escalated.push(right([...answer.slice(0, sent), ...rest.answer]));
    }
    exits.push({ right: right(answer), answer, prefill, confidences, escalated });
  }
  return { promptTokens: prompt.length, exits };
}

export interface Answered extends Pick<ExitLabel, "prefill" | "confidences"> {
  /** Token ids that this run made. */
  readonly answer: readonly number[];
}

/** @param sent answer tokens that stand already */
async function answerAt(
  engine: Engine,
  sequence: Sequence,
  prompt: readonly number[],
  exit: number,
  sent: readonly number[],
  { bundle }: Catalogue,
): Promise<Answered> {
  const tokenIds = [...prompt, ...sent];
  const room = Math.min(MAX_ANSWER_TOKENS - sent.length, bundle.shape.context_length - tokenIds.length);
  const request: GenerationRequest = {
    request_id: "calibrate",
    token_ids: tokenIds,
    answer_tokens: sent.length,
    exit_layer: exit,
    max_tokens: Math.max(room, 1),
    sampling: GREEDY,
    top_logprobs: 0,
    stop_token_ids: bundle.eos_token_ids,
  };
  let prefill: PrefillFeatures | null = null;
  const confidences: number[] = [];
  const answer: number[] = [];
  sequence.rewind(agreement(sequence.tokenIds, tokenIds));
  const events = generate(engine, sequence, request, new AbortController().signal, {
    afterPrefill(features) {
      prefill = features;
      return "continue";
    },
    afterToken({ top1 }) {
      confidences.push(top1);
      return "continue";
    },
  });
  for await (const event of events) if (event.type === "token") answer.push(event.id);
  if (prefill === null) throw new Error("the prefill was not seen");
  return { answer, prefill, confidences };
}
