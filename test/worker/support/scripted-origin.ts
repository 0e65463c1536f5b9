/** An origin that makes tokens as a test wants them: held back, slowly, or cut off. It believes every signature. */
import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { generationRequestSchema, type GenerationRequest, type TokenEvent } from "../../../src/generation.ts";

/** A letter of the vocabulary that is no control token. */
const TOKEN_ID = 100;

export interface Script {
  /** Awaited before the first token. */
  readonly before: () => Promise<unknown>;
  /** Milliseconds between tokens. */
  readonly pause: number;
}

export interface ScriptedOrigin {
  readonly url: string;
  /** Requests whose tokens were asked for. */
  started: number;
  /** Tokens sent, over all requests. */
  sent: number;
  script: Script;
  /** Cuts every stream. */
  cut(): void;
  stop(): Promise<void>;
}

export const AT_ONCE: Script = { before: async () => undefined, pause: 0 };

export async function scriptedOrigin(): Promise<ScriptedOrigin> {
  const open = new Set<ServerResponse>();
  const server = createServer((incoming, response) => {
    const chunks: Buffer[] = [];
    incoming.on("data", (chunk: Buffer) => chunks.push(chunk));
    incoming.on("end", () => {
      open.add(response);
      response.on("close", () => open.delete(response));
      const request = generationRequestSchema.parse(JSON.parse(Buffer.concat(chunks).toString("utf8")));
      void answer(request, response).finally(() => response.end());
    });
  });
  const send = (response: ServerResponse, event: TokenEvent): void => {
    response.write(`data: ${JSON.stringify(event)}\n\n`);
  };

  async function answer(request: GenerationRequest, response: ServerResponse): Promise<void> {
    const { exit_layer: exit, max_tokens: tokens } = request;
    origin.started += 1;
    response.writeHead(200, { "content-type": "text/event-stream" });
    response.flushHeaders();
    await origin.script.before();
    for (let made = 0; made < tokens; made++) {
      if (response.destroyed) return;
      send(response, { type: "token", id: TOKEN_ID, logprob: -0.5, exit });
      origin.sent += 1;
      if (origin.script.pause > 0) await new Promise((resolve) => setTimeout(resolve, origin.script.pause));
    }
    const usage = {
      prompt_tokens: request.token_ids.length,
      cached_tokens: 0,
      completion_tokens_by_exit: { [exit]: tokens },
    };
    send(response, {
      type: "end",
      finish_reason: "length",
      usage,
      timings: { queue_ms: 0, prefill_ms: 0, decode_ms: 0 },
    });
  }

  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const origin: ScriptedOrigin = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    started: 0,
    sent: 0,
    script: AT_ONCE,
    cut: () => {
      for (const response of open) response.destroy();
    },
    async stop() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
  return origin;
}
