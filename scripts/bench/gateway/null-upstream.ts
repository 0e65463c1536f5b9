/**
 * A server that answers every request with one token at once: what is in front of it is measured, not it.
 * It speaks `sortie-origin/1` (without checking signatures) and OpenAI's chat completions on one port.
 */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import type { GenerationRequest, TokenEvent } from "../../../src/generation.ts";
import { GENERATE_PATH, JSON_TYPE, SSE_TYPE } from "../../../src/origin/protocol.ts";

export const CHAT_PATH = "/v1/chat/completions";
/** A token id that every vocabulary has. */
const TOKEN_ID = 100;

/** OpenAI's answer of one token. */
const COMPLETION = JSON.stringify({
  id: "chatcmpl-null",
  object: "chat.completion",
  created: 0,
  model: "null",
  choices: [{ index: 0, message: { role: "assistant", content: "ok" }, finish_reason: "stop", logprobs: null }],
  usage: { prompt_tokens: 1, completion_tokens: 1, total_tokens: 2 },
});

/** The two events of an origin's answer. */
function tokenEvents(body: string): string {
  const { exit_layer: exit, token_ids } = JSON.parse(body) as GenerationRequest; // unchecked, as its signature is
  const events: TokenEvent[] = [
    { type: "token", id: TOKEN_ID, logprob: 0, exit },
    {
      type: "end",
      finish_reason: "stop",
      usage: { prompt_tokens: token_ids.length, cached_tokens: 0, completion_tokens_by_exit: { [exit]: 1 } },
      timings: { queue_ms: 0, prefill_ms: 0, decode_ms: 0 },
    },
  ];
  return events.map((event) => `data: ${JSON.stringify(event)}\n\n`).join("");
}

async function answer(incoming: IncomingMessage, response: ServerResponse): Promise<void> {
  const chunks: Buffer[] = [];
  for await (const chunk of incoming) chunks.push(chunk as Buffer);
  const reply = (status: number, type: string, text: string): void => {
    response.writeHead(status, { "content-type": type, "content-length": Buffer.byteLength(text) }).end(text);
  };
  if (incoming.url === CHAT_PATH) reply(200, JSON_TYPE, COMPLETION);
  else if (incoming.url === GENERATE_PATH) reply(200, SSE_TYPE, tokenEvents(Buffer.concat(chunks).toString()));
  else reply(404, JSON_TYPE, "{}");
}

if (import.meta.main) {
  const server = createServer((incoming, response) => {
    answer(incoming, response).catch((error: unknown) => response.destroy(error as Error));
  });
  server.listen(0, "127.0.0.1", () => {
    console.log(`ready on http://127.0.0.1:${(server.address() as AddressInfo).port}`);
  });
}
