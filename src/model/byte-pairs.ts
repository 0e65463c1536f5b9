/**
 * Byte-pair encoding as Hugging Face's `tokenizers` does it: of all neighbours that a merge joins, those of the lowest
 * rank are joined first, the leftmost of equals (tokenizers `models/bpe/word.rs`, `Word::merge_all`). Long words are
 * merged by a heap, in slices: 300,000 digits can be one word.
 */
import { z } from "zod";
import type { Sliced } from "../sliced.ts";
import { MergeTable } from "./merge-table.ts";
import { MinHeap } from "./min-heap.ts";
import { byteCharacters } from "./token-bytes.ts";

const modelSchema = z.looseObject({
  type: z.literal("BPE").default("BPE"),
  vocab: z.record(z.string(), z.int()),
  merges: z.array(z.union([z.string(), z.tuple([z.string(), z.string()])])),
  unk_token: z.string().nullish(),
  fuse_unk: z.boolean().nullish(),
  byte_fallback: z.boolean().nullish(),
  ignore_merges: z.boolean().nullish(),
  continuing_subword_prefix: z.literal("").nullish(),
  end_of_word_suffix: z.literal("").nullish(),
});

/** Symbols up to which a word is merged by looking through all of it each time. */
const SHORT = 48;
/** Merges, or symbols, between two yields of a long word. */
const STEP = 1_000;
/** What a merge by the heap costs in units, and what looking at a symbol. */
const [MERGE_UNITS, SYMBOL_UNITS] = [1, 0.1];
/** A heap's entry is `rank * POSITIONS + position`: both are read from one number, and the smallest comes first. */
const POSITIONS = 2 ** 24;
const NONE = -1;
const ASCII_END = 0x80;

export class BytePairs {
  /** Tokens of the vocabulary by their spelling. */
  readonly #vocabulary: ReadonlyMap<string, number>;
  readonly #merges: MergeTable;
  readonly #unknown: number | undefined;
  readonly #fusesUnknown: boolean;
  readonly #ignoresMerges: boolean;
  /** Symbols of a word's bytes; null: a word's symbols are its characters. */
  readonly #byteSymbols: Int32Array | null;
  /** Ids of `<0x00>`…`<0xFF>`; null: a character outside the vocabulary is unknown. */
  readonly #fallback: readonly (number | undefined)[] | null;
  readonly #longestToken: number;
  readonly #encoder = new TextEncoder();

  /**
   * @param model `model` of tokenizer.json
   * @param byteLevel words are given as text, and their bytes spelled by GPT-2's byte alphabet
   * @throws z.ZodError, Error for a model of another kind, or a merge of tokens outside the vocabulary
   */
  constructor(model: unknown, byteLevel: boolean) {
    const { vocab, merges, unk_token: unknown, ...options } = modelSchema.parse(model);
    this.#vocabulary = new Map(Object.entries(vocab));
    const idOf = (token: string): number => {
      const id = this.#vocabulary.get(token);
      if (id === undefined)
        throw new Error(
          `tokenizer.json: a merge has the token ${JSON.stringify(token)}, which is not in the vocabulary`,
        );
      return id;
    };
    this.#merges = new MergeTable(
      merges.map((merge) => {
        const [left, right] = typeof merge === "string" ? splitOnce(merge) : merge;
        return { left: idOf(left), right: idOf(right), joined: idOf(left + right) };
      }),
    );
    this.#unknown = unknown == null ? undefined : this.#vocabulary.get(unknown);
    this.#fusesUnknown = options.fuse_unk === true;
    this.#ignoresMerges = options.ignore_merges === true;
    this.#byteSymbols = byteLevel ? Int32Array.from(byteCharacters(), (character) => this.#symbol(character)) : null;
    this.#fallback =
      options.byte_fallback === true
        ? Array.from({ length: 0x100 }, (_, byte) => this.#vocabulary.get(byteToken(byte)))
        : null;
    this.#longestToken = Object.keys(vocab).reduce((longest, token) => Math.max(longest, token.length), 0);
  }

  /** Appends a word's ids. @returns false, and nothing done, when it is too long: then {@link appendLong} */
  appendShort(word: string, ids: number[]): boolean {
    if (word.length > SHORT) return false;
    if (this.#appendWhole(word, ids)) return true;
    const symbols = this.#symbols(word);
    if (symbols.length > SHORT) return false;
    this.#merge(symbols);
    this.#emit(symbols, ids);
    return true;
  }

  /**
   * Appends a word's ids, in slices.
   * @returns false, and nothing is appended, when there would be more than `limit` ids in all
   */
  *appendLong(word: string, ids: number[], limit: number): Sliced<boolean> {
    if (this.#appendWhole(word, ids)) return true;
    const symbols = yield* this.#symbolsOfLong(word);
    const { length } = symbols;
    const known = symbols.reduce((count, symbol) => (symbol >= 0 ? count + 1 : count), 0);
    if (ids.length + known / this.#longestToken > limit) return false;
    const next = new Int32Array(length);
    const previous = new Int32Array(length);
    const heap = new MinHeap(length);
    const offer = (at: number): void => {
      const right = at === NONE ? NONE : (next[at] ?? NONE);
      const merge = right === NONE ? NONE : this.#merges.find(symbols[at] ?? NONE, symbols[right] ?? NONE);
      if (merge !== NONE) heap.push(this.#merges.rank(merge) * POSITIONS + at);
    };
    for (let at = 0; at < length; at++) {
      next[at] = at + 1 < length ? at + 1 : NONE;
      previous[at] = at - 1;
      offer(at);
      if (at % STEP === 0) yield STEP * SYMBOL_UNITS;
    }
    for (let done = 1; heap.size > 0; done++) {
      const entry = heap.pop();
      const at = entry % POSITIONS;
      const right = next[at] ?? NONE;
      const merge = right === NONE ? NONE : this.#merges.find(symbols[at] ?? NONE, symbols[right] ?? NONE);
      if (merge !== NONE && this.#merges.rank(merge) === (entry - at) / POSITIONS) {
        const after = next[right] ?? NONE;
        symbols[at] = this.#merges.joined(merge);
        next[at] = after;
        next[right] = NONE;
        if (after !== NONE) previous[after] = at;
        offer(previous[at] ?? NONE);
        offer(at);
      }
      if (done % STEP === 0) yield STEP * MERGE_UNITS;
    }
    let kept = 0;
    for (let at = 0; at !== NONE && at < length; at = next[at] ?? NONE) symbols[kept++] = symbols[at] ?? NONE;
    const start = ids.length;
    for (let at = 0; at < kept; at += STEP) {
      this.#emit(symbols.subarray(at, Math.min(at + STEP, kept)), ids, start);
      yield STEP * SYMBOL_UNITS;
    }
    return true;
  }

  /** Ids of one character by itself. */
  characterIds(character: string): number[] {
    const ids: number[] = [];
    this.#emit(this.#symbols(character), ids);
    return ids;
  }

  /** As {@link #symbols}, in slices and flat memory. */
  *#symbolsOfLong(word: string): Sliced<Int32Array> {
    const bytes = this.#byteSymbols;
    const encoded = bytes === null ? null : this.#encoder.encode(word);
    const symbols = new Int32Array(encoded?.length ?? word.length);
    let length = 0;
    for (let at = 0; at < (encoded ?? word).length; length++) {
      if (bytes !== null && encoded !== null) symbols[length] = bytes[encoded[at++] ?? 0] ?? NONE;
      else {
        const character = String.fromCodePoint(word.codePointAt(at) ?? 0);
        symbols[length] = this.#symbol(character);
        at += character.length;
      }
      if (length % STEP === 0) yield STEP * SYMBOL_UNITS;
    }
    return symbols.subarray(0, length);
  }

  /** A word that is a token, where the model asks for that first. */
  #appendWhole(word: string, ids: number[]): boolean {
    if (!this.#ignoresMerges || word.length > this.#longestToken) return false;
    const id = this.#vocabulary.get(this.#byteSymbols === null ? word : spelledInBytes(this.#encoder.encode(word)));
    if (id === undefined) return false;
    ids.push(id);
    return true;
  }

  /** Ids of the word's bytes or characters; below 0: {@link missing}. */
  #symbols(word: string): number[] {
    const bytes = this.#byteSymbols;
    if (bytes === null) return Array.from(word, (character) => this.#symbol(character));
    const symbols: number[] = [];
    for (let at = 0; at < word.length; at++) {
      const code = word.charCodeAt(at);
      if (code >= ASCII_END) return Array.from(this.#encoder.encode(word), (byte) => bytes[byte] ?? NONE);
      symbols.push(bytes[code] ?? NONE);
    }
    return symbols;
  }

  #symbol(character: string): number {
    return this.#vocabulary.get(character) ?? missing(character);
  }

  /** Merges a short word in place. */
  #merge(symbols: number[]): void {
    for (;;) {
      let best = NONE;
      let lowest = Infinity;
      let at = NONE;
      for (let index = 0; index + 1 < symbols.length; index++) {
        const merge = this.#merges.find(symbols[index] ?? NONE, symbols[index + 1] ?? NONE);
        if (merge === NONE) continue;
        const rank = this.#merges.rank(merge);
        if (rank < lowest) [best, lowest, at] = [merge, rank, index];
      }
      if (best === NONE) return;
      symbols[at] = this.#merges.joined(best);
      symbols.copyWithin(at + 1, at + 2);
      symbols.length -= 1;
    }
  }

  /** @param start where the word's ids begin */
  #emit(symbols: Iterable<number>, ids: number[], start = ids.length): void {
    for (const symbol of symbols) {
      if (symbol >= 0) ids.push(symbol);
      else this.#emitMissing(symbol, ids, start);
    }
  }

  /** A character outside the vocabulary: its bytes' tokens, or the unknown one, or nothing. */
  #emitMissing(symbol: number, ids: number[], start: number): void {
    const fallback = this.#fallback;
    if (fallback !== null) {
      const bytes = Array.from(this.#encoder.encode(String.fromCodePoint(-symbol - 1)), (byte) => fallback[byte]);
      if (bytes.every((id) => id !== undefined)) {
        ids.push(...bytes);
        return;
      }
    }
    const fused = this.#fusesUnknown && ids.length > start && ids.at(-1) === this.#unknown;
    if (this.#unknown !== undefined && !fused) ids.push(this.#unknown);
  }
}

/** A character without a token, as a symbol. */
function missing(character: string): number {
  return -(character.codePointAt(0) ?? 0) - 1;
}

function byteToken(byte: number): string {
  return `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`;
}

const BYTE_CHARACTERS = byteCharacters();

function spelledInBytes(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => BYTE_CHARACTERS[byte]).join("");
}

/** `left right`; a part may itself hold no space. */
function splitOnce(merge: string): [string, string] {
  const at = merge.indexOf(" ");
  if (at === -1) throw new Error(`tokenizer.json: the merge ${JSON.stringify(merge)} is not two tokens`);
  return [merge.slice(0, at), merge.slice(at + 1)];
}
