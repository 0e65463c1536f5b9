/** `POST /v1/completions`: OpenAI's legacy text completions, by the same flow as chat. */
import { Hono } from "hono";
import { completionForm } from "../api/completion-answer.ts";
import { completionSchema, toCompletionRequest } from "../api/completion-request.ts";
import { randomSeed, respond, viewOf } from "./answer.ts";
import { bodyInTurns } from "./body.ts";
import type { AppEnv, Flow } from "./context.ts";

export function completions(flow: Flow): Hono<AppEnv> {
  return new Hono<AppEnv>().post("/", async (c) => {
    const body = await bodyInTurns(c, flow, completionSchema);
    const request = toCompletionRequest(body, c.var.requestId, randomSeed());
    return respond(c, flow, { request, form: completionForm, ...viewOf(body, typeof body.logprobs === "number") });
  });
}
