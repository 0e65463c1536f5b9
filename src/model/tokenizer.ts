/** Text to token ids and back. Text never becomes a control token: only the chat template may place those. */

export interface Tokenizer {
  /** Ids that stand for control tokens (added tokens marked special). */
  readonly controlIds: ReadonlySet<number>;
  /** Text as plain text: what spells a control token is encoded like any other characters. No BOS is added. */
  encode(text: string): number[];
  /** The id of a control token by its exact spelling. */
  controlId(token: string): number | undefined;
  /** The bytes that an id adds to a text; empty for control tokens. */
  bytesOf(id: number): Uint8Array;
}

/**
 * @param tokenizer parsed tokenizer.json.
 * @param config parsed tokenizer_config.json.
 */
export function createTokenizer(tokenizer: unknown, config: unknown): Tokenizer {
  throw new Error(`not written yet ${typeof tokenizer} ${typeof config}`);
}
