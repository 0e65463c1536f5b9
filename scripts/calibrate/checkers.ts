/** Checkers of answers, as gpu-backend/sortie/world/checkers.py defines them. */
import { z } from "zod";

export const checkerSchema = z.discriminatedUnion("kind", [
  z.strictObject({ kind: z.literal("exact"), answer: z.string() }),
  z.strictObject({ kind: z.literal("contains"), words: z.array(z.string()), max_words: z.int().positive() }),
]);
export type Checker = z.infer<typeof checkerSchema>;

const WORD = /[\p{L}\p{N}]+(?:'[\p{L}\p{N}]+)?/gu;

/** Case folded, white space collapsed, one final `.` or `!` removed. */
export function normalise(text: string): string {
  const folded = text.toLowerCase().trim().split(/\s+/u).join(" ");
  return folded.endsWith(".") || folded.endsWith("!") ? folded.slice(0, -1).trimEnd() : folded;
}

/** Whether an answer passes. */
export function check(checker: Checker, answer: string): boolean {
  switch (checker.kind) {
    case "exact":
      return normalise(answer) === normalise(checker.answer);
    case "contains": {
      const found = answer.toLowerCase().match(WORD) ?? [];
      const words = new Set(found);
      const ended = /[.!]$/.test(answer.trim());
      return ended && found.length <= checker.max_words && checker.words.every((word) => words.has(word.toLowerCase()));
    }
    default:
      return checker satisfies never;
  }
}
