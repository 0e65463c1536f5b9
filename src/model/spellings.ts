/** Spellings of added tokens in a text, found in one pass however many there are. */
import type { Sliced } from "../sliced.ts";

/** Characters of a text that a unit of work passes through. */
const CHARS_PER_UNIT = 500;
/** Spellings found between two yields, and what one costs in units. */
const [STEP, FOUND_UNITS] = [2_000, 0.5];

export interface Spellings {
  /** The id of each. */
  readonly ids: ReadonlyMap<string, number>;
  /** Finds the first, and of several that begin there the longest; null: there are none. */
  readonly pattern: RegExp | null;
}

/** @param entries spelling and id, no spelling empty */
export function spellingsOf(entries: Iterable<readonly [spelling: string, id: number]>): Spellings {
  const ids = new Map(entries);
  const longestFirst = [...ids.keys()].toSorted((left, right) => right.length - left.length);
  const pattern = longestFirst.length === 0 ? null : new RegExp(longestFirst.map(escaped).join("|"), "g");
  return { ids, pattern };
}

/** Ids of the spellings in a text, and the text between them, in order; nothing empty. */
export function* splitting(text: string, { ids, pattern }: Spellings): Sliced<(string | number)[]> {
  if (pattern === null) return text === "" ? [] : [text];
  const parts: (string | number)[] = [];
  let from = 0;
  let found = 0;
  for (const { index, 0: spelling } of text.matchAll(pattern)) {
    if (index > from) parts.push(text.slice(from, index));
    parts.push(ids.get(spelling) ?? spelling);
    from = index + spelling.length;
    if (++found % STEP === 0) yield STEP * FOUND_UNITS;
  }
  if (from < text.length) parts.push(text.slice(from));
  yield text.length / CHARS_PER_UNIT;
  return parts;
}

/** Every place of a text where a spelling begins, also within another; ascending. */
export function* startsOf(text: string, { pattern }: Spellings): Sliced<number[]> {
  const starts: number[] = [];
  if (pattern === null) return starts;
  let match: RegExpExecArray | null;
  for (let from = 0; (match = next(pattern, text, from)) !== null; from = match.index + 1) {
    starts.push(match.index);
    if (starts.length % STEP === 0) yield STEP * FOUND_UNITS;
  }
  yield text.length / CHARS_PER_UNIT;
  return starts;
}

function next(pattern: RegExp, text: string, from: number): RegExpExecArray | null {
  pattern.lastIndex = from; // the pattern is shared by texts that are read in turn
  return pattern.exec(text);
}

function escaped(spelling: string): string {
  return spelling.replace(/[\\^$.*+?()[\]{}|]/g, "\\$&");
}
