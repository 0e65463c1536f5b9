/** A prompt as token ids, and as gate 1 reads it. */
import { sha256, toHex } from "./bytes.ts";
import type { Catalogue } from "./catalogue.ts";
import type { Message, Prompt } from "./conversation.ts";
import { ApiError } from "./errors.ts";
import { TemplateError } from "./model/chat-template.ts";
import type { EncodedSlices } from "./model/tokenizer.ts";
import type { Sliced } from "./sliced.ts";

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

/** A checkpoint's text rim, and what bounds a prompt. */
type Rim = Pick<Catalogue, "tokenizer" | "template"> & {
  readonly bundle: { readonly shape: { readonly vocab_size: number; readonly context_length: number } };
};

/**
 * A prompt as token ids. One that cannot fit the context is read no further than that shows.
 * @throws ApiError 400: a conversation that the checkpoint's template refuses, an id outside the vocabulary, no token,
 *   `context_length_exceeded`
 */
export function* encodingPrompt(rim: Rim, prompt: Prompt): Sliced<EncodedPrompt> {
  const encoded = yield* encoding(rim, prompt);
  if (encoded.tokenIds.length === 0) throw refusal(encoded.param, "it has no tokens", "empty_prompt");
  return encoded;
}

function* encoding({ tokenizer, template, bundle }: Rim, prompt: Prompt): Sliced<EncodedPrompt> {
  const { context_length: context, vocab_size: size } = bundle.shape;
  switch (prompt.kind) {
    case "messages": {
      const { messages } = prompt;
      const tokenIds = within(context, "messages", yield* rendering(template, messages, context));
      return { tokenIds, messages, startsText: true, param: "messages" };
    }
    case "text": {
      const read = yield* tokenizer.encodeSlices([prompt.text], context);
      const tokenIds = [...tokenizer.textPrefix, ...within(context, "prompt", read)];
      return { tokenIds, messages: oneTurn(prompt.text), startsText: false, param: "prompt" };
    }
    case "tokens": {
      const { ids } = prompt;
      if (ids.length > context) throw tooLong(context, "prompt");
      const foreign = ids.find((id) => id >= size);
      if (foreign !== undefined) throw refusal("prompt", `the vocabulary has no token ${foreign}`, "invalid_token");
      const bytes = ids.flatMap((id) => Array.from(tokenizer.bytesOf(id)));
      yield bytes.length;
      const text = new TextDecoder().decode(new Uint8Array(bytes));
      return { tokenIds: ids, messages: oneTurn(text), startsText: false, param: "prompt" };
    }
    default:
      return prompt satisfies never;
  }
}

function within(context: number, param: EncodedPrompt["param"], { ids, complete }: EncodedSlices): number[] {
  if (!complete) throw tooLong(context, param);
  return ids;
}

/** For a prompt that fills the context alone, and was read no further. */
function tooLong(context: number, param: EncodedPrompt["param"]): ApiError {
  const message = `This model's maximum context length is ${context} tokens. The ${param} alone ${
    param === "messages" ? "have" : "has"
  } more. Please shorten the ${param}.`;
  return new ApiError(message, { status: 400, type: "invalid_request_error", code: "context_length_exceeded", param });
}

/**
 * Whether a prompt begins with a system prompt that the operator has marked.
 * @param marked SHA-256 of such prompts, lower-case hexadecimal
 */
export async function beginsShared({ messages: [first], startsText }: EncodedPrompt, marked: readonly string[]) {
  if (marked.length === 0 || !startsText || first?.role !== "system") return false;
  const text = new TextEncoder().encode(first.content) as Uint8Array<ArrayBuffer>;
  return marked.includes(toHex(await sha256(text)));
}

/** Leading tokens of such a prompt that are everybody's: those of the system prompt. */
export function* sharedTokens(rim: Rim, { messages, tokenIds }: EncodedPrompt): Sliced<number> {
  const { ids } = yield* rendering(rim.template, messages.slice(0, 1), tokenIds.length);
  const differs = ids.findIndex((id, at) => id !== tokenIds[at]);
  return differs === -1 ? ids.length : differs;
}

/** Characters of a template's own words that are passed on. */
const MAX_TEMPLATE_WORDS = 200;

/** The template may refuse, e.g. roles that do not alternate: in its own words, which are the checkpoint's. */
function* rendering(template: Rim["template"], messages: readonly Message[], limit: number): Sliced<EncodedSlices> {
  try {
    return yield* template.encodeSlices(messages, limit);
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
