/** What chat and text completions share on the wire: an answer's envelope, its usage, and what is ours in it. Pure. */
import { z } from "zod";
import type { AnswerEnd, Route, TextEvent, TextPiece } from "../conversation.ts";
import type { Usage } from "../generation.ts";
import { formatUsd } from "../money.ts";

export type ChoicePiece = Extract<TextEvent, { type: "text" }>;
export type ChoiceFinish = Extract<TextEvent, { type: "finish" }>;

/** What every object of one answer shares. */
export interface AnswerHead {
  readonly id: string;
  /** Seconds since 1970. */
  readonly created: number;
  readonly model: string;
  /** Fingerprint of the checkpoint. */
  readonly fingerprint: string;
}

/** What the caller wants to see. */
export interface AnswerView {
  readonly logprobs: boolean;
  readonly includeUsage: boolean;
  readonly includeSortie: boolean;
}

/** How a protocol spells a choice; the envelope around it is {@link wholeAnswer}'s and {@link chunk}'s. */
export interface AnswerForm {
  readonly idPrefix: string;
  readonly wholeObject: string;
  readonly chunkObject: string;
  whole(
    index: number,
    pieces: readonly TextPiece[],
    finishReason: ChoiceFinish["finishReason"],
    view: AnswerView,
  ): object;
  /** What a stream says of a choice before its text; null: nothing. */
  opening(index: number): object | null;
  /** @param offset characters of the tokens before it */
  piece(piece: ChoicePiece, offset: number, view: AnswerView): object;
  finish(finish: ChoiceFinish): object;
}

export const headFields = {
  id: z.string(),
  created: z.int().meta({ description: "Seconds since 1970." }),
  model: z.string(),
  system_fingerprint: z.string().meta({ description: "Fingerprint of the checkpoint." }),
};

export const finishReasonSchema = z.enum(["stop", "length"]);

export const usageSchema = z.strictObject({
  prompt_tokens: z.int().min(0),
  completion_tokens: z.int().min(0),
  total_tokens: z.int().min(0),
  prompt_tokens_details: z.strictObject({ cached_tokens: z.int().min(0) }),
});

/** Which exit and tier spoke last, why, and how many tokens each exit made. */
const servedFields = {
  exit: z.int(),
  tier: z.enum(["edge", "origin"]),
  route: z.string(),
  completion_tokens_by_exit: z.record(z.string(), z.int().min(0)),
};
const servedSchema = z.strictObject(servedFields);

/** Of an answer as a whole: its first choice's exit, tier and route, every choice's tokens, and the bill. */
export const sortieSchema = z.strictObject({
  ...servedFields,
  cost_usd: z.string().meta({ description: "What the answer cost, in dollars with six digits after the point." }),
  full_depth_cost_usd: z.string().meta({ description: "What the same tokens cost at the deepest exit." }),
});

export const chunkFields = {
  ...headFields,
  usage: usageSchema
    .nullable()
    .optional()
    .meta({ description: "With `include_usage`: null, but for the last chunk, which has no choices." }),
  sortie: z
    .union([
      z.strictObject({ tokens: z.array(z.strictObject({ exit: z.int(), confidence: z.number() })) }),
      servedSchema,
      sortieSchema,
    ])
    .optional()
    .meta({
      description:
        "With `include_sortie`: of each token, at a choice's end of the choice, and of the whole answer in a last chunk without choices.",
    }),
};

/** @param choices by index */
export function wholeAnswer(form: AnswerForm, head: AnswerHead, choices: readonly object[], end: AnswerEnd) {
  return { ...envelope(form.wholeObject, head), choices, usage: usageObject(end.usage), sortie: sortieAnswer(end) };
}

/** One chunk of a stream about one choice. */
export function chunk(form: AnswerForm, head: AnswerHead, view: AnswerView, choice: object, sortie?: object) {
  return {
    ...envelope(form.chunkObject, head),
    choices: [choice],
    ...(view.includeUsage && { usage: null }),
    ...(view.includeSortie && sortie && { sortie }),
  };
}

/** The chunk that `include_usage` and `include_sortie` add: no choices, only what all of them took. null: neither is asked. */
export function lastChunk(form: AnswerForm, head: AnswerHead, view: AnswerView, end: AnswerEnd) {
  if (!view.includeUsage && !view.includeSortie) return null;
  return {
    ...envelope(form.chunkObject, head),
    choices: [],
    ...(view.includeUsage && { usage: usageObject(end.usage) }),
    ...(view.includeSortie && { sortie: sortieAnswer(end) }),
  };
}

function envelope(object: string, { id, created, model, fingerprint }: AnswerHead) {
  return { id, object, created, model, system_fingerprint: fingerprint };
}

/** Which exit made each token, and how sure it was. */
export function sortieTokens({ tokens }: TextPiece) {
  return { tokens: tokens.map(({ exit, logprob }) => ({ exit, confidence: Math.exp(logprob) })) };
}

/** Who served a choice. */
export function sortieChoice({ exit, tier, reason }: Route, usage: Usage): z.infer<typeof servedSchema> {
  return { exit, tier, route: reason, completion_tokens_by_exit: usage.completion_tokens_by_exit };
}

function sortieAnswer({ route, usage, charge }: AnswerEnd): z.infer<typeof sortieSchema> {
  return {
    ...sortieChoice(route, usage),
    cost_usd: formatUsd(charge.cost),
    full_depth_cost_usd: formatUsd(charge.fullDepthCost),
  };
}

function usageObject(usage: Usage): z.infer<typeof usageSchema> {
  const completion = completionTokens(usage);
  return {
    prompt_tokens: usage.prompt_tokens,
    completion_tokens: completion,
    total_tokens: usage.prompt_tokens + completion,
    prompt_tokens_details: { cached_tokens: usage.cached_tokens },
  };
}

/** Tokens of the answer, over all exits. */
export function completionTokens(usage: Usage): number {
  return Object.values(usage.completion_tokens_by_exit).reduce((sum, tokens) => sum + tokens, 0);
}

/** Unicode characters, as clients in any language count them. */
export function characters(text: string): number {
  let count = 0;
  for (const _ of text) count++;
  return count;
}
