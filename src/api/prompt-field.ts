/**
 * The `prompt` of `POST /v1/completions`: one or several, as text or as token ids. Half a million ids are checked by
 * hand: a union of schemas would make an issue of each in every branch.
 */
import { z } from "zod";
import type { Prompt } from "../conversation.ts";
import { MAX_CHOICES, MAX_PROMPT_TOKENS } from "./bounds.ts";

const tokenIds = z.array(z.int().min(0)).min(1).max(MAX_PROMPT_TOKENS);
/** What it may be, as the OpenAPI document tells it. */
const { $schema: _, ...described } = z.toJSONSchema(
  z
    .union([
      z.string(),
      z.array(z.string()).min(1).max(MAX_CHOICES),
      tokenIds,
      z.array(tokenIds).min(1).max(MAX_CHOICES),
    ])
    .nullable(),
);

export const promptField = z
  .unknown()
  .superRefine((value, context) => {
    const fault = promptFault(value);
    if (fault !== null) context.addIssue({ ...fault, continue: false });
  })
  .transform((value) => value as string | string[] | number[] | number[][] | null)
  .meta({ ...described, description: "null: the beginning of a text, as a checkpoint has one." });

type Fault = Exclude<Parameters<z.RefinementCtx["addIssue"]>[0], string>;

/** The first fault, as the schema above would have found it. */
function promptFault(value: unknown): Fault | null {
  if (value === null || typeof value === "string") return null;
  if (!Array.isArray(value)) return wrongType(value, "string or array", []);
  if (typeof value[0] === "number") return idsFault(value, []);
  if (value.length === 0 || value.length > MAX_CHOICES) return lengthFault(value, MAX_CHOICES, []);
  const texts = typeof value[0] === "string";
  for (const [at, one] of value.entries()) {
    if (texts !== (typeof one === "string")) return wrongType(one, texts ? "string" : "array", [at]);
    const fault = texts ? null : idsFault(one, [at]);
    if (fault !== null) return fault;
  }
  return null;
}

function idsFault(value: unknown, path: number[]): Fault | null {
  if (!Array.isArray(value)) return wrongType(value, path.length === 0 ? "array" : "string or array", path);
  if (value.length === 0 || value.length > MAX_PROMPT_TOKENS) return lengthFault(value, MAX_PROMPT_TOKENS, path);
  const at = value.findIndex((id) => !(Number.isSafeInteger(id) && (id as number) >= 0));
  if (at === -1) return null;
  const input: unknown = value[at];
  if (!Number.isSafeInteger(input)) return wrongType(input, "int", [...path, at]);
  return { code: "too_small", origin: "int", minimum: 0, inclusive: true, input, path: [...path, at] };
}

function lengthFault(value: unknown[], most: number, path: number[]): Fault {
  if (value.length === 0)
    return { code: "too_small", origin: "array", minimum: 1, inclusive: true, input: value, path };
  return { code: "too_big", origin: "array", maximum: most, inclusive: true, input: value, path };
}

function wrongType(input: unknown, expected: string, path: number[]): Fault {
  return { code: "invalid_type", expected: expected as "string", input, path };
}

export function promptsOf(prompt: z.infer<typeof promptField>): Prompt[] {
  if (prompt === null || typeof prompt === "string") return [{ kind: "text", text: prompt ?? "" }];
  if (isTokenIds(prompt)) return [{ kind: "tokens", ids: prompt }];
  return prompt.map((one) => (typeof one === "string" ? { kind: "text", text: one } : { kind: "tokens", ids: one }));
}

function isTokenIds(prompt: string[] | number[] | number[][]): prompt is number[] {
  return typeof prompt[0] === "number";
}
