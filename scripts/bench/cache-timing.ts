/** What the prefix cache saves, timed with the engine at hand: written for workerd, which brings its clock. */
import { cachedGenerate } from "../../src/cache/cached-generation.ts";
import { PrefixCache } from "../../src/cache/prefix-cache.ts";
import { GREEDY, type GenerationRequest } from "../../src/generation.ts";
import type { Engine } from "../../src/model/engine.ts";
import type { Clock } from "./timing.ts";

export interface CacheTimingOptions {
  readonly exit: number;
  /** Tokens that all prompts share. */
  readonly system: number;
  /** Tokens of a user's message, and of an answer. */
  readonly message: number;
  readonly turns: number;
}

export interface CacheTiming {
  /** First token of a prompt whose system prompt nobody has read. */
  readonly cold_ms: number;
  /** First token of another user's message after the same system prompt. */
  readonly warm_ms: number;
  /** First token and whole turn, by turn, the first one cold. */
  readonly turns: readonly { readonly first_token_ms: number; readonly turn_ms: number }[];
  /** Bytes of blocks at the end. */
  readonly cache_bytes: number;
}

/** Token ids that every vocabulary has. */
const FIRST_ID = 5;
const IDS = 200;
const never = new AbortController().signal;
const MAX_BYTES = 24e6;

/** `length` token ids that follow from a seed. */
const tokens = (length: number, seed: number): number[] =>
  Array.from({ length }, (_, at) => FIRST_ID + ((at * 31 + seed * 17 + at * seed) % IDS));

const request = (token_ids: number[], exit_layer: number, max_tokens: number): GenerationRequest => ({
  request_id: "bench",
  token_ids,
  answer_tokens: 0,
  exit_layer,
  max_tokens,
  sampling: GREEDY,
  top_logprobs: 0,
  stop_token_ids: [],
  cache: { scope: "acme/0", shared_tokens: 0, continued: false },
});

const newCache = (engine: Engine, maxBytes = MAX_BYTES): PrefixCache =>
  new PrefixCache({ bundle: engine.bundle, maxBytes, ttlMs: 3_600_000, dtype: "F32" });

/** One answer with the cache; its tokens and the time of the first. */
async function answer(engine: Engine, cache: PrefixCache, asked: GenerationRequest, clock: Clock) {
  const sequence = engine.newSequence();
  const started = await clock();
  const ids: number[] = [];
  let first = started;
  for await (const event of cachedGenerate(engine, { cache, sources: [] }, sequence, asked, never)) {
    if (ids.length === 0) first = await clock();
    if (event.type === "token") ids.push(event.id);
  }
  return { ids, first_token_ms: first - started, turn_ms: (await clock()) - started };
}

/** @param round makes the tokens of this round its own */
export async function timeCache(
  engine: Engine,
  { exit, system, message, turns }: CacheTimingOptions,
  round: number,
  clock: Clock,
): Promise<CacheTiming> {
  const cache = newCache(engine);
  const shared = tokens(system, round);
  const asked = (user: number) => request([...shared, ...tokens(message, user)], exit, 1);
  const cold = await answer(engine, cache, asked(1), clock);
  const warm = await answer(engine, cache, asked(2), clock);
  const conversation = newCache(engine);
  let ids = [...shared];
  const times: { first_token_ms: number; turn_ms: number }[] = [];
  for (let turn = 0; turn < turns; turn++) {
    ids = [...ids, ...tokens(message, 100 + turn)];
    const {
      first_token_ms,
      turn_ms,
      ids: said,
    } = await answer(engine, conversation, request(ids, exit, message), clock);
    times.push({ first_token_ms, turn_ms });
    ids = [...ids, ...said];
  }
  return {
    cold_ms: cold.first_token_ms,
    warm_ms: warm.first_token_ms,
    turns: times,
    cache_bytes: conversation.state.bytes,
  };
}

export interface SoakOptions {
  readonly exit: number;
  readonly requests: number;
  /** Tokens of a prefix. */
  readonly system: number;
  /** Prefixes there are: more than the cache holds. */
  readonly prefixes: number;
  readonly maxBytes: number;
}

let soaking: PrefixCache | null = null;

/** So many requests with long prefixes, the next ones at every call. */
export async function soak(engine: Engine, options: SoakOptions, from: number) {
  const { exit, requests, system, prefixes, maxBytes } = options;
  soaking ??= newCache(engine, maxBytes);
  for (let at = from; at < from + requests; at++) {
    const often = Math.floor(prefixes / 4); // all but one in sixteen have one of a quarter of the prefixes
    const prefix = at % 16 > 0 ? at % often : often + ((at / 16) % (prefixes - often));
    const ids = [...tokens(system, 1_000 + prefix), ...tokens(8, at)];
    await answer(engine, soaking, request(ids, exit, 2), async () => 0);
  }
  return soaking.state;
}
