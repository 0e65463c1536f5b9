/** A prompt as token ids, and as gate 1 reads it. */
import { sha256, toHex } from "./bytes.ts";
import type { Catalogue } from "./catalogue.ts";
import type { Message, Prompt } from "./conversation.ts";
import { ApiError } from "./errors.ts";
import { TemplateError } from "./model/chat-template.ts";

export interface EncodedPrompt {
  /** Never empty. */
  readonly tokenIds: readonly number[];
  /** What gate 1 scores. Text that is no conversation counts as one turn of a user. */
  readonly messages: readonly Message[];
  /** The answer is a text of its own, not the rest of one. */
  readonly startsText: boolean;
  /** The request's field, for refusals. */
  readonly param: "messages" | "prompt";
}

/**
 * Leading tokens of a prompt that are everybody's: those of a system prompt that the operator has marked.
 * @param marked SHA-256 of such prompts, lower-case hexadecimal
 */
export async function sharedTokens(
  rim: Rim,
  { messages: [first], startsText, tokenIds }: EncodedPrompt,
  marked: readonly string[],
): Promise<number> {
  if (marked.length === 0 || !startsText || first?.role !== "system") return 0;
  const text = new TextEncoder().encode(first.content) as Uint8Array<ArrayBuffer>;
  if (!marked.includes(toHex(await sha256(text)))) return 0;
  const alone = rendered(rim.template, [first]);
  const differs = alone.findIndex((id, at) => id !== tokenIds[at]);
  return differs === -1 ? alone.length : differs;
}

type Rim = Pick<Catalogue, "tokenizer" | "template"> & {
  readonly bundle: { readonly shape: { readonly vocab_size: number } };
};

/** @throws ApiError 400: a conversation that the checkpoint's template refuses, an id outside the vocabulary, no token */
export function encodePrompt(rim: Rim, prompt: Prompt): EncodedPrompt {
  const encoded = encode(rim, prompt);
  if (encoded.tokenIds.length === 0) throw refusal(encoded.param, "it has no tokens", "empty_prompt");
  return encoded;
}

function encode({ tokenizer, template, bundle }: Rim, prompt: Prompt): EncodedPrompt {
  switch (prompt.kind) {
    case "messages": {
      const { messages } = prompt;
      return { tokenIds: rendered(template, messages), messages, startsText: true, param: "messages" };
    }
    case "text": {
      const tokenIds = [...tokenizer.textPrefix, ...tokenizer.encode(prompt.text)];
      return { tokenIds, messages: oneTurn(prompt.text), startsText: false, param: "prompt" };
    }
    case "tokens": {
      const size = bundle.shape.vocab_size;
      const foreign = prompt.ids.find((id) => id >= size);
      if (foreign !== undefined) throw refusal("prompt", `the vocabulary has no token ${foreign}`, "invalid_token");
      const bytes = prompt.ids.flatMap((id) => Array.from(tokenizer.bytesOf(id)));
      const text = new TextDecoder().decode(new Uint8Array(bytes));
      return { tokenIds: prompt.ids, messages: oneTurn(text), startsText: false, param: "prompt" };
    }
    default:
      return prompt satisfies never;
  }
}

/** Characters of a template's own words that are passed on. */
const MAX_TEMPLATE_WORDS = 200;

/** The template may refuse, e.g. roles that do not alternate: in its own words, which are the checkpoint's. */
function rendered(template: Rim["template"], messages: readonly Message[]): number[] {
  try {
    return template.encode(messages);
  } catch (error) {
    if (!(error instanceof TemplateError)) throw error;
    const words = error.message.slice(0, MAX_TEMPLATE_WORDS);
    throw refusal("messages", `the model's chat template refuses them: ${words}`, "invalid_messages", error);
  }
}

function oneTurn(text: string): Message[] {
  return [{ role: "user", content: text }];
}

function refusal(param: EncodedPrompt["param"], why: string, code: string, cause?: unknown): ApiError {
  return new ApiError(`Invalid '${param}': ${why}.`, {
    status: 400,
    type: "invalid_request_error",
    code,
    param,
    cause,
  });
}
