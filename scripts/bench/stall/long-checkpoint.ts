/** A checkpoint on which reading costs the most: a long context, and as many control tokens as Llama 3 has. */
import { cpSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";

const CONTEXT_LENGTH = 131_072;
const CONTROL_TOKENS = 256;

/** Makes it of another one. @param folder made when missing @returns a spelling of its last control token */
export function makeCheckpoint(from: string, folder: string): string {
  mkdirSync(folder, { recursive: true });
  cpSync(from, folder, { recursive: true });
  change(join(folder, "config.json"), (config) => ({ ...config, max_position_embeddings: CONTEXT_LENGTH }));
  const spelling = (at: number): string => `<|reserved_special_token_${at}|>`;
  change(join(folder, "tokenizer.json"), (json) => {
    const added = json["added_tokens"] as readonly { readonly id: number }[];
    // Ids outside the vocabulary: a prompt never has them, so the network needs no rows for them.
    const more = Array.from({ length: CONTROL_TOKENS }, (_, at) => {
      return { id: 1_000_000 + at, content: spelling(at), special: true, normalized: false };
    });
    return { ...json, added_tokens: [...added, ...more] };
  });
  return spelling(CONTROL_TOKENS - 1);
}

function change(file: string, by: (json: Record<string, unknown>) => Record<string, unknown>): void {
  writeFileSync(file, JSON.stringify(by(JSON.parse(readFileSync(file, "utf8")) as Record<string, unknown>)));
}
