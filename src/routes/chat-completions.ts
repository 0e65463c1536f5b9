/** `POST /v1/chat/completions`: the request to the flow, the flow's answer to the wire. */
import { type Context, Hono } from "hono";
import { chatFrames } from "../api/chat-frames.ts";
import { chatCompletionSchema, toChatRequest, type ChatCompletionBody } from "../api/chat-request.ts";
import { completionObject, type AnswerEnd, type AnswerView, type TextPiece } from "../api/chat-response.ts";
import { readJson } from "../api/json-body.ts";
import { requestError } from "../api/request-error.ts";
import { eventStream, SSE_HEADERS } from "../api/sse.ts";
import type { Route, TextEvent } from "../conversation.ts";
import { formatUsd } from "../money.ts";
import type { AppEnv, Flow } from "./context.ts";
import { toApiError } from "./failure.ts";
import { logOutcome, observed } from "./outcome.ts";
import { payerOf } from "./payer.ts";

export function chatCompletions(flow: Flow): Hono<AppEnv> {
  return new Hono<AppEnv>().post("/", async (c) => {
    const body = accept(await readJson(c.req.raw));
    const request = toChatRequest(body, c.var.requestId, randomSeed());
    const reader = new AbortController(); // aborted when the answer's stream is cancelled
    const signal = AbortSignal.any([c.req.raw.signal, reader.signal]);
    const deps = await flow.chatDeps(c.env, c.req.raw);
    const answer = await flow.chat(deps, payerOf(c, flow), request, signal);
    const events = observed(answer.events, signal, (outcome) => logOutcome(request, answer, outcome, c.var));
    const head = {
      id: `chatcmpl-${crypto.randomUUID().replaceAll("-", "")}`,
      created: Math.floor(Date.now() / 1000),
      model: answer.model,
      fingerprint: deps.catalogue.bundle.fingerprint,
    };
    const view = viewOf(body);
    for (const [name, value] of Object.entries(answer.headers)) c.header(name, value);
    if (body.stream !== true) {
      const { pieces, end } = await collect(events);
      setRouteHeaders(c, end.route);
      c.header("x-sortie-cost-usd", formatUsd(end.cost));
      return c.json(completionObject(head, view, pieces, end));
    }
    const frames = chatFrames(head, view, events, (error) => toApiError(error, c.var.requestId, signal.aborted));
    setRouteHeaders(c, answer.route);
    return c.body(eventStream(frames, { onCancel: (reason) => reader.abort(reason) }), 200, SSE_HEADERS);
  });
}

/** @throws ApiError 400 naming the first field at fault */
function accept(json: unknown): ChatCompletionBody {
  const parsed = chatCompletionSchema.safeParse(json);
  if (!parsed.success) throw requestError(parsed.error, json);
  return parsed.data;
}

function viewOf(body: ChatCompletionBody): AnswerView {
  return {
    logprobs: body.logprobs === true,
    includeUsage: body.stream_options?.include_usage === true,
    includeSortie: body.stream_options?.include_sortie === true,
  };
}

async function collect(events: AsyncIterable<TextEvent>): Promise<{ pieces: TextPiece[]; end: AnswerEnd }> {
  const pieces: TextPiece[] = [];
  for await (const event of events) {
    if (event.type === "end") return { pieces, end: event };
    pieces.push(event);
  }
  throw new Error("the answer ended without its end event");
}

/** A stream's headers state the first decision, a whole answer's the last. */
function setRouteHeaders(c: Context<AppEnv>, { exit, tier, reason }: Route): void {
  c.header("x-sortie-exit", String(exit));
  c.header("x-sortie-tier", tier);
  c.header("x-sortie-route", reason);
}

/** 0..2^32-1 */
function randomSeed(): number {
  return crypto.getRandomValues(new Uint32Array(1))[0] ?? 0;
}
