/** Messages to token ids by the checkpoint's own chat template. */
import type { Message } from "../conversation.ts";
import type { Tokenizer } from "./tokenizer.ts";

export interface ChatTemplate {
  /**
   * The prompt of a conversation, ending where the assistant's answer begins. Control tokens come from the template
   * alone; contents are plain text.
   *
   * @throws TemplateError when the template refuses the messages (e.g. roles that do not alternate).
   */
  encode(messages: readonly Message[]): number[];
}

/** The template's own refusal; the message is the template's. */
export class TemplateError extends Error {}

/**
 * @param config parsed tokenizer_config.json.
 * @throws Error when it has no `chat_template`.
 */
export function createChatTemplate(tokenizer: Tokenizer, config: unknown): ChatTemplate {
  throw new Error(`not written yet ${tokenizer.controlIds.size} ${typeof config}`);
}
