/** Token ids to text as it becomes final. */
import type { Tokenizer } from "./tokenizer.ts";

/** One id as text. `text` is empty while its last character is incomplete; `bytes` is exact. */
export interface DetokenizedToken {
  readonly text: string;
  readonly bytes: readonly number[];
}

/** Incremental, one an answer: UTF-8 is held back until a character is complete. */
export interface Detokenizer {
  push(id: number): DetokenizedToken;
  /** What is held back at the end of the answer, incomplete bytes as U+FFFD. */
  flush(): string;
}

const SPACE = 0x20;

/** @param startsText false for the rest of a text: its first space is part of it */
export function createDetokenizer(tokenizer: Tokenizer, startsText = true): Detokenizer {
  const decoder = new TextDecoder("utf-8", { fatal: false, ignoreBOM: true });
  let atStart = startsText && tokenizer.stripsLeadingSpace;
  return {
    push(id) {
      let bytes = tokenizer.bytesOf(id);
      if (atStart && bytes.length > 0) {
        if (bytes[0] === SPACE) bytes = bytes.subarray(1);
        atStart = false;
      }
      return { text: decoder.decode(bytes, { stream: true }), bytes: Array.from(bytes) };
    },
    flush: () => decoder.decode(),
  };
}
