/**
 * Gate 1's view of a conversation: hashed words, pairs of words, and surface counts. Pure, no model needed.
 * Numbers are kept as shapes (`#`, `##`), because what matters is how many digits, not which.
 */
import type { Message } from "../conversation.ts";
import { FNV_OFFSET, hash32 } from "../fnv.ts";

/** Euclidean length of everything before the last turn of the user, whose own is 1: the question dominates. */
const EARLIER_WEIGHT = 0.25;
/** A word's repeats are told apart up to here: eight arrows and nine arrows are equally hard. */
const MAX_REPEAT = 8;
/** UTF-16 code units read from a turn's end, and of all earlier turns together: bounds the gate's time. */
const MAX_TURN_CHARS = 4096;
const MAX_EARLIER_CHARS = 2048;
const WORD = /[\p{L}\p{M}']+|\p{N}+|[^\s\p{L}\p{M}\p{N}]/gu;
const DIGIT = /\p{N}/gu;

/** Lower-cased words, number shapes and punctuation, in order. */
export function words(text: string): string[] {
  return (
    text
      .toLowerCase()
      .match(WORD)
      ?.map((word) => (mayBeNumber(word) ? word.replace(DIGIT, "#") : word)) ?? []
  );
}

/** Cheap, and right for ASCII: a word and a number are never one. */
function mayBeNumber(word: string): boolean {
  const code = word.charCodeAt(0);
  return (code >= 0x30 && code <= 0x39) || code >= 0x80;
}

/** Takes one feature: its hash, and its name in pieces, which only people need. */
export type Visit = (hash: number, seed: string, head: string, joint: string, tail: string) => void;

/** Visits each `name` with a power of two, from `from` to `most`: a thermometer. */
function visitSteps(name: string, from: number, most: number, start: number, seed: string, visit: Visit): void {
  for (let step = from; step <= most; step *= 2) {
    visit(hash32(`${name}>=${step}`, start), seed, name, ">=", `${step}`);
  }
}

/**
 * Features of one text: words, pairs of them, a thermometer of each word's repeats and of the length. `seed` keeps
 * kinds of text apart.
 */
export function visitFeatures(text: string, seed: string, visit: Visit): void {
  const start = hash32(seed);
  const list = words(text);
  const counts = new Map<string, number>();
  let previous = hash32("^", start);
  let before = "^";
  for (const word of list) {
    const hash = hash32(word, start);
    const count = (counts.get(word) ?? 0) + 1;
    counts.set(word, count);
    if (count === 1) visit(hash, seed, word, "", "");
    else if (count <= MAX_REPEAT) visit(hash32(`${count}`, hash32("@", hash)), seed, word, "@", `${count}`);
    visit(hash32(word, hash32(" ", previous)), seed, before, " ", word);
    previous = hash;
    before = word;
  }
  visitSteps("words", 1, list.length, start, seed, visit);
  visitSteps("chars", 64, text.length, start, seed, visit);
}

/** A sparse vector: the value at `buckets[i]` is `values[i]`; every bucket stands once. */
export interface Features {
  readonly buckets: Uint32Array;
  readonly values: Float32Array;
}

/** The texts of a conversation that gate 1 reads beside the last turn of the user, latest first, and their seeds. */
function earlierTexts(messages: readonly Message[], last: number): [seed: string, text: string][] {
  let left = MAX_EARLIER_CHARS;
  const earlier: [string, string][] = [];
  for (const [index, { role, content }] of [...messages.entries()].toReversed()) {
    if (index === last || left === 0) continue;
    earlier.push([`${role}|`, content.slice(-left)]);
    left = Math.max(left - content.length, 0);
  }
  return earlier;
}

/** Visits every feature of a conversation: those of the last turn of the user, then those of all the rest. */
export function visitConversation(messages: readonly Message[], ofLast: Visit, ofEarlier: Visit): void {
  const last = messages.findLastIndex(({ role }) => role === "user");
  visitFeatures((messages[last]?.content ?? "").slice(-MAX_TURN_CHARS), "", ofLast);
  for (const [seed, text] of earlierTexts(messages, last)) visitFeatures(text, seed, ofEarlier);
  visitSteps("turns", 1, messages.length, FNV_OFFSET, "", ofEarlier);
}

/** ln(1 + count) of the counts that are common. */
const DAMPENED = Array.from({ length: 32 }, (_, count) => Math.log1p(count));

function dampen(count: number): number {
  return DAMPENED[count] ?? Math.log1p(count);
}

/** Counts of one part of a conversation, in memory that is used again: a vector of zeros is dear, and always the same. */
class Counts {
  readonly #counts: Float32Array;
  readonly #mask: number;
  #touched: number[] = [];

  constructor(buckets: number) {
    this.#counts = new Float32Array(buckets);
    this.#mask = buckets - 1;
  }

  readonly add: Visit = (hash) => {
    const bucket = hash & this.#mask;
    const before = this.#counts[bucket] ?? 0;
    if (before === 0) this.#touched.push(bucket);
    this.#counts[bucket] = before + 1;
  };

  /** The counts, dampened, as a vector of this Euclidean length; and zeros again. */
  take(length: number): { readonly buckets: readonly number[]; readonly values: readonly number[] } {
    const buckets = this.#touched;
    const dampened = buckets.map((bucket) => dampen(this.#counts[bucket] ?? 0));
    for (const bucket of buckets) this.#counts[bucket] = 0;
    this.#touched = [];
    let square = 0;
    for (const value of dampened) square += value * value;
    const factor = length / (Math.sqrt(square) || 1);
    return { buckets, values: dampened.map((value) => value * factor) };
  }
}

/** By number of buckets. */
const scratch = new Map<number, { readonly last: Counts; readonly earlier: Counts; readonly place: Int32Array }>();

/**
 * Features of a conversation, dampened counts; the last turn has length 1, all the rest together {@link EARLIER_WEIGHT}.
 * @param buckets number of hash buckets, a power of two
 */
export function promptFeatures(messages: readonly Message[], buckets: number): Features {
  const memory = scratch.get(buckets) ?? {
    last: new Counts(buckets),
    earlier: new Counts(buckets),
    place: new Int32Array(buckets),
  };
  scratch.set(buckets, memory);
  visitConversation(messages, memory.last.add, memory.earlier.add);
  const last = memory.last.take(1);
  const earlier = memory.earlier.take(EARLIER_WEIGHT);
  const all = [...last.buckets];
  const values = [...last.values];
  const { place } = memory; // 1 + where a bucket stands in `all`
  for (const [at, bucket] of all.entries()) place[bucket] = at + 1;
  for (const [at, bucket] of earlier.buckets.entries()) {
    const value = earlier.values[at] ?? 0;
    const known = place[bucket] ?? 0;
    if (known === 0) {
      all.push(bucket);
      values.push(value);
    } else values[known - 1] = (values[known - 1] ?? 0) + value;
  }
  for (const bucket of last.buckets) place[bucket] = 0;
  return { buckets: Uint32Array.from(all), values: Float32Array.from(values) };
}
