/** Rows of a chat file with checkers: models/tiny/validation.jsonl and test.jsonl. */
import { readFileSync } from "node:fs";
import { z } from "zod";
import { checkerSchema } from "./checkers.ts";

export const rowSchema = z.object({
  id: z.string(),
  split: z.string(),
  family: z.string(),
  difficulty: z.int(),
  /** The last message is the reference answer. */
  messages: z.array(z.strictObject({ role: z.enum(["system", "user", "assistant"]), content: z.string() })).min(2),
  checker: checkerSchema,
});
export type Row = z.infer<typeof rowSchema>;

/** @throws Error naming the line that does not fit */
export function readRows(path: string): Row[] {
  const lines = readFileSync(path, "utf8").split("\n");
  return lines.flatMap((line, index) => {
    if (line.trim() === "") return [];
    try {
      return [rowSchema.parse(JSON.parse(line))];
    } catch (error) {
      throw new Error(`${path}:${index + 1}: ${error instanceof Error ? error.message : String(error)}`, {
        cause: error,
      });
    }
  });
}
