/**
 * The project's HTTP surface over HTTP, with a flow that fails as the model's name says: what official clients make
 * of failures that a healthy deployment does not have.
 */
import { serve } from "@hono/node-server";
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { createApp } from "../../../src/app.ts";
import type { ChatDeps } from "../../../src/chat-deps.ts";
import type { TextEvent } from "../../../src/conversation.ts";
import { ApiError, type ErrorDetails } from "../../../src/errors.ts";
import { OriginError } from "../../../src/origin/origin-error.ts";
import { Turns } from "../../../src/turns.ts";
import { CONTEXT, END, ENV, finish, piece, TENANTS, token } from "../../unit/api-flow.ts";

/** Seconds that a busy model asks clients to wait: longer than any first delay of their own (at most 0.5 s). */
export const RETRY_AFTER_SECONDS = 1;

const server = (status: ErrorDetails["status"], headers: Record<string, string> = {}) =>
  new ApiError("not now", { status, type: "server_error", code: `code_${status}`, headers });

/** By model name. A name that begins with `busy` fails on its first request and answers the next. */
const FAILURES: Readonly<Record<string, () => unknown>> = {
  forbidden: () =>
    new ApiError("This key may not use this model.", {
      status: 403,
      type: "permission_error",
      code: "model_forbidden",
    }),
  broken: () => new Error("a reason that no client sees"),
  "bad-gateway": () => new OriginError("interrupted", "a reason that no client sees"),
  unavailable: () => server(503),
  slow: () => new OriginError("timeout", "a reason that no client sees"),
};

export interface FailingServer {
  /** `http://127.0.0.1:PORT` */
  readonly url: string;
  stop(): Promise<void>;
}

export async function startFailingServer(): Promise<FailingServer> {
  const asked = new Map<string, number>();
  async function* events(model: string): AsyncGenerator<TextEvent, void> {
    yield piece(token("Par"), token("is"));
    if (model === "breaks-off") throw new OriginError("interrupted", "a reason that no client sees");
    yield finish();
    yield END;
  }
  const bundle = { name: "tiny", fingerprint: "0123456789abcdef", numerics: "w8a8", exits: [3] };
  const app = createApp({
    chatDeps: async () => ({ catalogue: { bundle, router: null } }) as unknown as ChatDeps,
    tenants: () => TENANTS,
    turns: new Turns(),
    async chat(_deps, _payer, { model }) {
      const times = (asked.get(model) ?? 0) + 1;
      asked.set(model, times);
      if (FAILURES[model]) throw FAILURES[model]();
      if (model.startsWith("busy") && times === 1) {
        const status = model.includes("429") ? 429 : 503;
        throw server(status, { "retry-after": String(RETRY_AFTER_SECONDS) });
      }
      return {
        model: "tiny",
        route: { exit: 3, tier: "edge", reason: "test" },
        promptTokens: 7,
        headers: {},
        charge: () => ({ cost: 0, fullDepthCost: 0 }),
        events: events(model),
      };
    },
  });
  const listening = serve({ fetch: (request) => app.fetch(request, ENV, CONTEXT), hostname: "127.0.0.1", port: 0 });
  await once(listening, "listening");
  const { port } = listening.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    async stop() {
      const closed = once(listening, "close");
      listening.close();
      if ("closeAllConnections" in listening) listening.closeAllConnections();
      await closed;
    },
  };
}
