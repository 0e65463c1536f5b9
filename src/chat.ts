/** THE FLOW: one request from accepted to answered. Signatures first; the body follows. */
import type { Catalogue } from "./catalogue.ts";
import type { ChatAnswer, ChatRequest } from "./conversation.ts";

/** What one request's flow may use. */
export interface ChatDeps {
  readonly catalogue: Catalogue;
}

/**
 * Answers one chat request.
 * @param signal aborted when the client is gone
 * @throws ApiError for everything the client may be told
 */
export declare function chat(deps: ChatDeps, request: ChatRequest, signal: AbortSignal): Promise<ChatAnswer>;

/** The deployment's parts for one request; loads the catalogue once an isolate. */
export declare function chatDeps(env: unknown, ctx: ExecutionContext): Promise<ChatDeps>;
