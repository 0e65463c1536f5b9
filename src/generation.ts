/**
 * The words both tiers share: what is asked of a model, and the tokens that come back.
 * A leaf: it imports nothing of the project, so that every part may use it.
 */
import { z } from "zod";

/** Largest `top_logprobs` OpenAI's contract allows. */
export const MAX_TOP_LOGPROBS = 20;

/** Sampling parameters. Randomness is a function of (seed, absolute position), never of the tier. */
export const samplingSchema = z.strictObject({
  /** 0 = greedy. */
  temperature: z.number().min(0).max(2).default(1),
  top_p: z.number().gt(0).max(1).default(1),
  /** 0 = off. */
  top_k: z.int().min(0).default(0),
  min_p: z.number().min(0).max(1).default(0),
  /** 1 = off; over prompt and answer. */
  repetition_penalty: z.number().gt(0).max(10).default(1),
  /** 0 = off; over the answer only. */
  presence_penalty: z.number().min(-2).max(2).default(0),
  /** 0 = off; over the answer only. */
  frequency_penalty: z.number().min(-2).max(2).default(0),
  seed: z.int().min(0).max(0xffffffff),
});
export type Sampling = z.infer<typeof samplingSchema>;

/** The most probable token each time, nothing penalised. */
export const GREEDY: Sampling = samplingSchema.parse({ temperature: 0, seed: 0 });

/** Whose blocks a generation reads and leaves in prefix caches (docs/protocol.md). */
export const cacheScopeSchema = z.strictObject({
  /** A tenant and the epoch of its cache, e.g. `acme/0`: after a purge the epoch is another. */
  scope: z.string().regex(/^[a-z0-9-]{1,63}\/[0-9]{1,9}$/),
  /** Leading tokens that the operator has marked as everybody's. */
  shared_tokens: z.int().min(0),
  /** The prompt goes on a conversation: another tier may hold blocks of it. */
  continued: z.boolean().default(false),
});
export type CacheScope = z.infer<typeof cacheScopeSchema>;

/** Per token, the first exit that is as sure as its threshold makes it: probability of the most probable token, by layer. */
export const decodingSchema = z.strictObject({
  kind: z.literal("early_exit"),
  thresholds: z.record(z.string().regex(/^[1-9][0-9]{0,2}$/), z.number().min(0).max(1)),
});

/** One generation as a tier sees it: token ids in, token ids out. Also the JSON of `sortie-origin/1`. */
export const generationRequestSchema = z.strictObject({
  request_id: z.string().min(1).max(128),
  /** The whole prompt, control tokens included; after an escalation also the answer so far. */
  token_ids: z.array(z.int().min(0)).min(1),
  /** How many of the last `token_ids` are answer already sent: penalties count them, `max_tokens` does not. */
  answer_tokens: z.int().min(0).default(0),
  /** How many layers to run: one of the bundle's exits. */
  exit_layer: z.int().positive(),
  max_tokens: z.int().positive(),
  sampling: samplingSchema,
  top_logprobs: z.int().min(0).max(MAX_TOP_LOGPROBS).default(0),
  /** Ids that end the answer; never emitted. */
  stop_token_ids: z.array(z.int().min(0)).max(16),
  /** Absent: no cache is read or written. */
  cache: cacheScopeSchema.optional(),
  /** How tokens are made; left out: every one at `exit_layer`. */
  decoding: decodingSchema.optional(),
});
export type GenerationRequest = z.infer<typeof generationRequestSchema>;

/** An id and its natural-log probability under the unpenalised, temperature-1 distribution. */
export const tokenLogprobSchema = z.strictObject({ id: z.int().min(0), logprob: z.number() });
export type TokenLogprob = z.infer<typeof tokenLogprobSchema>;

export const usageSchema = z.strictObject({
  prompt_tokens: z.int().min(0),
  /** Prompt tokens of which no layer up to the exit was computed: all came from a prefix cache, or in a handoff. */
  cached_tokens: z.int().min(0),
  /** Emitted tokens by exit layer (keys are decimal layer numbers). */
  completion_tokens_by_exit: z.record(z.string(), z.int().min(0)),
});
export type Usage = z.infer<typeof usageSchema>;

export const timingsSchema = z.strictObject({
  queue_ms: z.number().min(0),
  prefill_ms: z.number().min(0),
  decode_ms: z.number().min(0),
});
export type Timings = z.infer<typeof timingsSchema>;

/** What two parts of one answer used together. The prompt counts once; of it as cached what neither part computed. */
export function addSpent<T extends { readonly usage: Usage; readonly timings: Timings }>(
  before: { readonly usage: Usage; readonly timings: Timings },
  after: T,
): T {
  const byExit = { ...before.usage.completion_tokens_by_exit };
  for (const [exit, tokens] of Object.entries(after.usage.completion_tokens_by_exit)) {
    byExit[exit] = (byExit[exit] ?? 0) + tokens;
  }
  const timings: Timings = {
    queue_ms: before.timings.queue_ms + after.timings.queue_ms,
    prefill_ms: before.timings.prefill_ms + after.timings.prefill_ms,
    decode_ms: before.timings.decode_ms + after.timings.decode_ms,
  };
  const cached_tokens = Math.min(before.usage.cached_tokens, after.usage.cached_tokens);
  return { ...after, usage: { ...before.usage, cached_tokens, completion_tokens_by_exit: byExit }, timings };
}

/** What a tier yields: tokens, then exactly one `end`. A failure is thrown, never yielded. */
export const tokenEventSchema = z.discriminatedUnion("type", [
  z.strictObject({
    type: z.literal("token"),
    id: z.int().min(0),
    logprob: z.number(),
    exit: z.int().positive(),
    /** On the first token: as `end` will say. */
    cached_tokens: z.int().min(0).optional(),
    /** The most probable ids, best first; only when `top_logprobs` > 0. */
    top_logprobs: z.array(tokenLogprobSchema).optional(),
  }),
  z.strictObject({
    type: z.literal("end"),
    finish_reason: z.enum(["stop", "length"]),
    usage: usageSchema,
    timings: timingsSchema,
  }),
]);
export type TokenEvent = z.infer<typeof tokenEventSchema>;

/** An event of an answer's later part as one of the whole answer. @param before what the parts before it used */
export function afterPart(before: { readonly usage: Usage; readonly timings: Timings }, event: TokenEvent): TokenEvent {
  return event.type === "end" ? addSpent(before, event) : cappedCached(event, before.usage.cached_tokens);
}

/** @param most prompt tokens that the request itself has not read elsewhere */
export function cappedCached(event: TokenEvent, most: number): TokenEvent {
  if (event.type === "end") {
    const cached_tokens = Math.min(event.usage.cached_tokens, most);
    return { ...event, usage: { ...event.usage, cached_tokens } };
  }
  const { cached_tokens: cached } = event;
  return cached === undefined ? event : { ...event, cached_tokens: Math.min(cached, most) };
}
