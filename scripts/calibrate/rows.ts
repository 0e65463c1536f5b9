/** Rows of a chat file: OpenAI's `{"messages": […]}`, one a line; a checker where there is one, otherwise none. */
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { z } from "zod";
import type { Message } from "../../src/conversation.ts";
import { checkerSchema, type Checker } from "./checkers.ts";

const messageSchema = z.object({ role: z.enum(["system", "user", "assistant"]), content: z.string() });

const lineSchema = z.object({
  /** Where it comes from, e.g. `test_unseen`. */
  split: z.string().default("rows"),
  /** What kind of task it is: reports are grouped by it. */
  family: z.string().default("all"),
  /** An assistant's last message is a reference answer and no part of the prompt. */
  messages: z.array(messageSchema).min(1),
  checker: checkerSchema.optional(),
});

export interface Row {
  /** Names prompt and checker: 16 hexadecimal digits. Equal rows have equal keys, so they fall into the same part. */
  readonly key: string;
  readonly split: string;
  readonly family: string;
  readonly prompt: readonly Message[];
  /** null: the row brings no answer. */
  readonly reference: string | null;
  /** null: an answer is right when it says what the deepest exit says. */
  readonly checker: Checker | null;
}

/** @throws Error naming the line that does not fit */
export function readRows(path: string): Row[] {
  const rows = readFileSync(path, "utf8")
    .split("\n")
    .flatMap((line, index) => {
      if (line.trim() === "") return [];
      try {
        return [toRow(lineSchema.parse(JSON.parse(line)))];
      } catch (error) {
        const why = error instanceof z.ZodError ? z.prettifyError(error) : String(error);
        throw new Error(`${path}:${index + 1}: ${why}`, { cause: error });
      }
    });
  if (rows.length === 0) throw new Error(`${path}: it has no rows`);
  return [...new Map(rows.map((row) => [row.key, row])).values()];
}

function toRow({ split, family, messages, checker: given }: z.infer<typeof lineSchema>): Row {
  const checker = given ?? null;
  const last = messages.at(-1);
  const reference = last?.role === "assistant" ? last.content : null;
  const prompt = reference === null ? messages : messages.slice(0, -1);
  if (prompt.length === 0) throw new Error("the messages hold an answer and no prompt");
  const key = createHash("sha256")
    .update(JSON.stringify([prompt, checker]))
    .digest("hex")
    .slice(0, 16);
  return { key, split, family, prompt, reference, checker };
}
