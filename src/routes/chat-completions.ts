/** `POST /v1/chat/completions`. */
import { Hono } from "hono";
import { chatForm } from "../api/chat-answer.ts";
import { chatCompletionSchema, toChatRequest } from "../api/chat-request.ts";
import { randomSeed, respond, viewOf } from "./answer.ts";
import { bodyInTurns } from "./body.ts";
import type { AppEnv, Flow } from "./context.ts";

export function chatCompletions(flow: Flow): Hono<AppEnv> {
  return new Hono<AppEnv>().post("/", async (c) => {
    const body = await bodyInTurns(c, flow, chatCompletionSchema);
    const request = toChatRequest(body, c.var.requestId, randomSeed());
    return respond(c, flow, { request, form: chatForm, ...viewOf(body, body.logprobs === true) });
  });
}
