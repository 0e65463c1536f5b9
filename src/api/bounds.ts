/** How large a request may be, each bound with its reason. A leaf. */

/** Bytes of a body: 128 Ki tokens, the longest context of the LLaMA family, of 4 bytes, twice over for JSON escapes. */
export const MAX_BODY_BYTES = 1024 * 1024;
/** Bytes of all header names and values: browsers and SDKs send under 2 KB. */
export const MAX_HEADER_BYTES = 16 * 1024;
/** Nesting of the JSON: messages[].content[].text takes 5; what is deeper is no chat request. */
export const MAX_JSON_DEPTH = 16;
/** Members of all objects of a body: 2,048 messages of one text part have 8,192. */
export const MAX_JSON_MEMBERS = 16 * 1024;
/** Members of one object: a schema knows 50 at the most, and each one more is told as a fault. */
export const MAX_OBJECT_MEMBERS = 1024;
/** Messages: OpenAI's own bound. */
export const MAX_MESSAGES = 2048;
/** Parts of one message's content: as many as messages. */
export const MAX_CONTENT_PARTS = 2048;
/**
 * Choices of one request, over all its prompts: each may take three subrequests (edge, origin, and once more without
 * the handoff), and a Worker of the free plan has 50.
 */
export const MAX_CHOICES = 16;
/** Token ids of a prompt: 128 Ki, the longest context of the LLaMA family. */
export const MAX_PROMPT_TOKENS = 128 * 1024;
/** `max_tokens` of a text completion that names none: OpenAI's own default. */
export const DEFAULT_COMPLETION_TOKENS = 16;
/** `logprobs` of a text completion: OpenAI's own bound. */
export const MAX_COMPLETION_LOGPROBS = 5;
/** Stop sequences: OpenAI's own bound. */
export const MAX_STOP_SEQUENCES = 4;
/** Characters of a stop sequence: each token's text is compared with every beginning of it. */
export const MAX_STOP_CHARS = 256;
/** Characters of a model id: a name and an exit. */
export const MAX_MODEL_CHARS = 128;
/** OpenAI's own bounds of `metadata`. */
export const MAX_METADATA_PAIRS = 16;
export const MAX_METADATA_KEY_CHARS = 64;
export const MAX_METADATA_VALUE_CHARS = 512;
/** Characters of `user` and its like: they are accepted, never used. */
export const MAX_IDENTIFIER_CHARS = 512;
/** Characters of `x-request-id`: a UUID has 36; the origin takes up to 128. */
export const MAX_REQUEST_ID_CHARS = 128;
