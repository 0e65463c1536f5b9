/** Every exit's answer to every row: right or wrong, and what gate 2 would see. */
import type { Catalogue } from "../../src/catalogue.ts";
import type { GenerationRequest } from "../../src/generation.ts";
import { createDetokenizer } from "../../src/model/detokenizer.ts";
import type { Engine } from "../../src/model/engine.ts";
import { generate } from "../../src/model/generate.ts";
import type { FirstToken } from "../../src/policy/prefill-gate.ts";
import { check } from "./checkers.ts";
import type { Row } from "./rows.ts";

/** Longest answer in the world is a two-sentence story of about 40 tokens. */
const MAX_ANSWER_TOKENS = 64;

/** One exit's answer. */
export interface ExitLabel {
  readonly right: boolean;
  readonly first: FirstToken;
  readonly answer: string;
}

/**
 * Answers a row greedily at every exit of the engine.
 * @returns one label an exit, in the engine's order
 */
export async function labelRow(engine: Engine, catalogue: Catalogue, row: Row): Promise<ExitLabel[]> {
  const tokenIds = catalogue.template.encode(row.messages.slice(0, -1));
  const sequence = engine.newSequence();
  const labels: ExitLabel[] = [];
  for (const exit of engine.exits) {
    sequence.retarget(tokenIds);
    const detokenizer = createDetokenizer(catalogue.tokenizer);
    let first: FirstToken | null = null;
    let answer = "";
    const events = generate(
      engine,
      sequence,
      request(row.id, tokenIds, exit, catalogue),
      new AbortController().signal,
      {
        afterPrefill(features) {
          first = features.firstToken;
          return "continue";
        },
      },
    );
    for await (const event of events) if (event.type === "token") answer += detokenizer.push(event.id).text;
    answer += detokenizer.flush();
    if (first === null) throw new Error(`row ${row.id}: the prefill was not seen`);
    labels.push({ right: check(row.checker, answer), first, answer });
  }
  return labels;
}

function request(id: string, tokenIds: readonly number[], exit: number, { bundle }: Catalogue): GenerationRequest {
  return {
    request_id: id,
    token_ids: [...tokenIds],
    answer_tokens: 0,
    exit_layer: exit,
    max_tokens: Math.min(MAX_ANSWER_TOKENS, bundle.shape.context_length - tokenIds.length),
    sampling: {
      temperature: 0,
      top_p: 1,
      top_k: 0,
      min_p: 0,
      repetition_penalty: 1,
      presence_penalty: 0,
      frequency_penalty: 0,
      seed: 0,
    },
    top_logprobs: 0,
    stop_token_ids: bundle.eos_token_ids,
  };
}
