/**
 * Gate 1's view of a prompt: hashed word n-grams and surface counts. Pure, no model needed.
 * Numbers are kept as shapes (`#`, `##`), because what matters is how many digits, not which.
 */
import type { Message } from "../conversation.ts";

/** Text before the last user turn says less about the answer's difficulty than the question itself. */
const EARLIER_TURN_WEIGHT = 0.25;
/** A word's repeats are counted up to here: eight arrows and nine arrows are equally hard. */
const MAX_REPEAT = 8;
/** Bytes of text read from a turn's end: bounds the gate's time on long prompts. */
const MAX_TURN_CHARS = 8192;

const WORD = /[\p{L}\p{M}']+|\p{N}+|[^\s\p{L}\p{M}\p{N}]/gu;
const FNV_OFFSET = 0x811c9dc5;
const FNV_PRIME = 0x01000193;

/** FNV-1a over UTF-16 code units, 32 bits (http://www.isthe.com/chongo/tech/comp/fnv/). */
export function hash32(text: string): number {
  let hash = FNV_OFFSET;
  for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), FNV_PRIME);
  return hash >>> 0;
}

/** Words, number shapes and punctuation of a text, lower-cased, in order. */
export function words(text: string): string[] {
  const found = text.slice(-MAX_TURN_CHARS).toLowerCase().match(WORD) ?? [];
  return found.map((word) => (/^\p{N}/u.test(word) ? "#".repeat(word.length) : word));
}

/** Names of the features of one text: unigrams, bigrams, and a thermometer of each word's repeats. */
export function* featureNames(text: string): Generator<string> {
  const list = words(text);
  const counts = new Map<string, number>();
  for (const [index, word] of list.entries()) {
    const count = (counts.get(word) ?? 0) + 1;
    counts.set(word, count);
    if (count === 1) yield word;
    else if (count <= MAX_REPEAT) yield `${word}@${count}`;
    yield `${list[index - 1] ?? "^"} ${word}`;
  }
  for (let length = 1; length <= list.length; length *= 2) yield `length>=${length}`;
}

/** A sparse feature vector: bucket → value, of Euclidean length 1. */
export type Features = ReadonlyMap<number, number>;

/**
 * Features of a conversation; the last turn weighs most.
 * @param buckets number of hash buckets, a power of two
 */
export function promptFeatures(messages: readonly Message[], buckets: number): Features {
  const vector = new Map<number, number>();
  const last = messages.findLastIndex((message) => message.role === "user");
  for (const [index, message] of messages.entries()) {
    const weight = index === last ? 1 : EARLIER_TURN_WEIGHT;
    const namespace = index === last ? "" : `${message.role}|`;
    for (const name of featureNames(message.content)) {
      const bucket = hash32(namespace + name) & (buckets - 1);
      vector.set(bucket, (vector.get(bucket) ?? 0) + weight);
    }
  }
  let square = 0;
  for (const value of vector.values()) square += value * value;
  const norm = Math.sqrt(square) || 1;
  for (const [bucket, value] of vector) vector.set(bucket, value / norm);
  return vector;
}
