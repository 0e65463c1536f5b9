/** The objects of a chat answer: `chat.completion` and its chunks. Pure. */
import type { TextEvent, TextToken } from "../conversation.ts";
import type { Usage } from "../generation.ts";
import { formatUsd } from "../money.ts";

export type TextPiece = Extract<TextEvent, { type: "text" }>;
export type AnswerEnd = Extract<TextEvent, { type: "end" }>;

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

interface TokenLogprob {
  readonly token: string;
  readonly logprob: number;
  readonly bytes: readonly number[];
}

interface Logprobs {
  readonly content: readonly (TokenLogprob & { readonly top_logprobs: readonly TokenLogprob[] })[];
  readonly refusal: null;
}

/** The whole answer at once. */
export function completionObject(head: AnswerHead, view: AnswerView, pieces: readonly TextPiece[], end: AnswerEnd) {
  return {
    id: head.id,
    object: "chat.completion",
    created: head.created,
    model: head.model,
    choices: [
      {
        index: 0,
        message: { role: "assistant", content: pieces.map((piece) => piece.text).join(""), refusal: null },
        logprobs: view.logprobs ? logprobsOf(pieces.flatMap((piece) => piece.tokens)) : null,
        finish_reason: end.finishReason,
      },
    ],
    usage: usageObject(end.usage),
    system_fingerprint: head.fingerprint,
  };
}

/** The first chunk: who speaks. */
export function roleChunk(head: AnswerHead, view: AnswerView) {
  return chunk(head, view, { role: "assistant", content: "", refusal: null }, null, null);
}

/** A piece of text. With `include_sortie` it also says which exit made each token, and how sure it was. */
export function textChunk(head: AnswerHead, view: AnswerView, { text, tokens }: TextPiece) {
  const logprobs = view.logprobs ? logprobsOf(tokens) : null;
  const sortie = tokens.map(({ exit, logprob }) => ({ exit, confidence: Math.exp(logprob) }));
  return {
    ...chunk(head, view, { content: text }, logprobs, null),
    ...(view.includeSortie && { sortie: { tokens: sortie } }),
  };
}

/** Why the answer ended. With `include_sortie` it also says which exit and tier spoke last, and the cost. */
export function finishChunk(head: AnswerHead, view: AnswerView, end: AnswerEnd) {
  const base = chunk(head, view, {}, null, end.finishReason);
  return { ...base, ...(view.includeSortie && { sortie: sortieSummary(end) }) };
}

/** The chunk that `stream_options.include_usage` adds: no choices, only the bill. */
export function usageChunk(head: AnswerHead, usage: Usage) {
  return { ...chunkHead(head), choices: [], usage: usageObject(usage) };
}

function chunk(
  head: AnswerHead,
  view: AnswerView,
  delta: Readonly<Record<string, string | null>>,
  logprobs: Logprobs | null,
  finishReason: AnswerEnd["finishReason"] | null,
) {
  return {
    ...chunkHead(head),
    choices: [{ index: 0, delta, logprobs, finish_reason: finishReason }],
    ...(view.includeUsage && { usage: null }),
  };
}

function chunkHead({ id, created, model, fingerprint }: AnswerHead) {
  return { id, object: "chat.completion.chunk", created, model, system_fingerprint: fingerprint };
}

function sortieSummary({ route: { exit, tier, reason }, usage, cost }: AnswerEnd) {
  const { completion_tokens_by_exit } = usage;
  return { exit, tier, route: reason, completion_tokens_by_exit, cost_usd: formatUsd(cost) };
}

function usageObject(usage: Usage) {
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

function logprobsOf(tokens: readonly TextToken[]): Logprobs {
  const content = tokens.map(({ text, logprob, bytes, top }) => ({
    token: text,
    logprob,
    bytes,
    top_logprobs: top.map((other) => ({ token: other.text, logprob: other.logprob, bytes: other.bytes })),
  }));
  return { content, refusal: null };
}
