/**
 * Gate 1's view of a conversation: hashed word and character n-grams, and surface counts. Pure, no model needed.
 * Numbers are kept as shapes (`#`, `##`), because what matters is how many digits, not which.
 */
import type { Message } from "../conversation.ts";

/** Euclidean length of everything before the last turn of the user, whose own is 1: the question dominates. */
const EARLIER_WEIGHT = 0.25;
/** A word's repeats are told apart up to here: eight arrows and nine arrows are equally hard. */
const MAX_REPEAT = 8;
/** UTF-16 code units read from a turn's end, and of all earlier turns together: bounds the gate's time. */
const MAX_TURN_CHARS = 4096;
const MAX_EARLIER_CHARS = 2048;
/** Lengths of character n-grams. */
const SHORTEST_GRAM = 3;
const LONGEST_GRAM = 4;

const WORD = /[\p{L}\p{M}']+|\p{N}+|[^\s\p{L}\p{M}\p{N}]/gu;
const DIGIT = /\p{N}/gu;
const FNV_OFFSET = 0x811c9dc5;
const FNV_PRIME = 0x01000193;

/** FNV-1a over UTF-16 code units, 32 bits (http://www.isthe.com/chongo/tech/comp/fnv/), going on from `hash`. */
export function hash32(text: string, hash = FNV_OFFSET): number {
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), FNV_PRIME);
  return hash >>> 0;
}

/** Lower-cased, digits as `#`. */
export function shape(text: string): string {
  return text.toLowerCase().replace(DIGIT, "#");
}

/** Words, number shapes and punctuation, in order. */
export function words(text: string): string[] {
  return (
    text
      .toLowerCase()
      .match(WORD)
      ?.map((word) => word.replace(DIGIT, "#")) ?? []
  );
}

/** Takes one feature: the hash of its name, which `name` spells for people. */
export type Visit = (hash: number, name: () => string) => void;

/**
 * Features of one text: words, pairs of them, a thermometer of each word's repeats and of the length, and the
 * character n-grams. `seed` keeps kinds of text apart.
 */
export function visitFeatures(text: string, seed: string, visit: Visit): void {
  const start = hash32(seed);
  const named = (name: string): void => visit(hash32(name, start), () => seed + name);
  const list = words(text);
  const counts = new Map<string, number>();
  let previous = "^";
  for (const word of list) {
    const count = (counts.get(word) ?? 0) + 1;
    counts.set(word, count);
    if (count === 1) named(word);
    else if (count <= MAX_REPEAT) named(`${word}@${count}`);
    named(`${previous} ${word}`);
    previous = word;
  }
  for (let length = 1; length <= list.length; length *= 2) named(`words>=${length}`);
  for (let length = 64; length <= text.length; length *= 2) named(`chars>=${length}`);
  visitGrams(shape(text), hash32("~", start), (hash, gram) => visit(hash, () => `${seed}~${gram()}`));
}

function visitGrams(text: string, start: number, visit: Visit): void {
  for (let at = 0; at < text.length; at++) {
    let hash = start;
    const end = Math.min(at + LONGEST_GRAM, text.length);
    for (let to = at; to < end; to++) {
      hash = Math.imul(hash ^ text.charCodeAt(to), FNV_PRIME);
      if (to - at + 1 >= SHORTEST_GRAM) visit(hash >>> 0, () => text.slice(at, to + 1));
    }
  }
}

/** A sparse vector: the value at `buckets[i]` is `values[i]`; every bucket stands once. */
export interface Features {
  readonly buckets: Uint32Array;
  readonly values: Float32Array;
}

/** Every text of a conversation that gate 1 reads, with the seed of its features. The last turn of the user comes first. */
function texts(messages: readonly Message[]): { readonly last: string; readonly earlier: readonly [string, string][] } {
  const at = messages.findLastIndex(({ role }) => role === "user");
  let left = MAX_EARLIER_CHARS;
  const earlier: [string, string][] = [];
  for (const [index, { role, content }] of [...messages.entries()].toReversed()) {
    if (index === at || left === 0) continue;
    earlier.push([`${role}|`, content.slice(-left)]);
    left = Math.max(left - content.length, 0);
  }
  return { last: (messages[at]?.content ?? "").slice(-MAX_TURN_CHARS), earlier };
}

/** Visits every feature of a conversation. @param part whether it is of the last turn */
export function visitConversation(
  messages: readonly Message[],
  visit: (part: "last" | "earlier", ...feature: Parameters<Visit>) => void,
): void {
  const { last, earlier } = texts(messages);
  visitFeatures(last, "", (...feature) => visit("last", ...feature));
  for (const [seed, text] of earlier) visitFeatures(text, seed, (...feature) => visit("earlier", ...feature));
  for (let turns = 1; turns <= messages.length; turns *= 2) {
    visit("earlier", hash32(`turns>=${turns}`), () => `turns>=${turns}`);
  }
}

/**
 * Features of a conversation, dampened counts; the last turn has length 1, all the rest together {@link EARLIER_WEIGHT}.
 * @param buckets number of hash buckets, a power of two
 */
export function promptFeatures(messages: readonly Message[], buckets: number): Features {
  const mask = buckets - 1;
  const counts = { last: new Float32Array(buckets), earlier: new Float32Array(buckets) };
  const touched = { last: [] as number[], earlier: [] as number[] };
  visitConversation(messages, (part, hash) => {
    const bucket = hash & mask;
    const before = counts[part][bucket] ?? 0;
    if (before === 0) touched[part].push(bucket);
    counts[part][bucket] = before + 1;
  });
  const scaled = (part: "last" | "earlier", length: number): void => {
    let square = 0;
    for (const bucket of touched[part]) {
      const value = Math.log1p(counts[part][bucket] ?? 0);
      counts[part][bucket] = value;
      square += value * value;
    }
    const factor = length / (Math.sqrt(square) || 1);
    for (const bucket of touched[part]) counts[part][bucket] = (counts[part][bucket] ?? 0) * factor;
  };
  scaled("last", 1);
  scaled("earlier", EARLIER_WEIGHT);
  const all = Uint32Array.from(new Set([...touched.last, ...touched.earlier]));
  return {
    buckets: all,
    values: Float32Array.from(all, (bucket) => (counts.last[bucket] ?? 0) + (counts.earlier[bucket] ?? 0)),
  };
}
