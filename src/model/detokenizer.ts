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

export function createDetokenizer(tokenizer: Tokenizer): Detokenizer {
  throw new Error(`not written yet ${tokenizer.controlIds.size}`);
}
