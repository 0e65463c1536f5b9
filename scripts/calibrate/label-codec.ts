/** A row's labels as one line of JSON; vectors are base64 of little-endian float32. */
import { z } from "zod";
import type { RowLabels } from "./label.ts";

const number = z.number();
const vector = z.base64().transform((text) => {
  const bytes = Uint8Array.from(Buffer.from(text, "base64"));
  return new Float32Array(bytes.buffer);
});

const lineSchema = z.object({
  row: z.string(),
  promptTokens: z.int(),
  exits: z.array(
    z.object({
      right: z.boolean(),
      answer: z.array(z.int()),
      confidences: z.array(number),
      escalated: z.array(z.boolean()),
      prefill: z.object({
        firstToken: z.object({ top1: number, margin: number, entropy: number }),
        hiddenLast: vector,
        hiddenMean: vector,
      }),
    }),
  ),
});

export function encodeLabels(row: string, { promptTokens, exits }: RowLabels): string {
  const base64 = (values: Float32Array): string =>
    Buffer.from(values.buffer, values.byteOffset, values.byteLength).toString("base64");
  const lines = exits.map(({ prefill: { firstToken, hiddenLast, hiddenMean }, ...label }) => ({
    ...label,
    prefill: { firstToken, hiddenLast: base64(hiddenLast), hiddenMean: base64(hiddenMean) },
  }));
  return JSON.stringify({ row, promptTokens, exits: lines });
}

/** @returns null for what is no whole line */
export function decodeLabels(line: string): { readonly row: string; readonly labels: RowLabels } | null {
  let json: unknown;
  try {
    json = JSON.parse(line);
  } catch {
    return null;
  }
  const parsed = lineSchema.safeParse(json);
  if (!parsed.success) return null;
  const { row, ...labels } = parsed.data;
  return { row, labels };
}
