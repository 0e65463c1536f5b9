/** From an accepted request to its answer on the wire: the part that chat and text completions share. */
import type { Context } from "hono";
import { answerFrames } from "../api/answer-frames.ts";
import { wholeAnswer, type AnswerForm, type AnswerHead, type AnswerView, type ChoicePiece } from "../api/answer.ts";
import { eventStream, SSE_HEADERS } from "../api/sse.ts";
import type { ChatAnswer, ChatRequest, Route, TextEvent } from "../conversation.ts";
import { settings } from "../env.ts";
import { formatUsd } from "../money.ts";
import { withOpenSpan } from "../telemetry/span.ts";
import type { AppEnv, Flow } from "./context.ts";
import { toApiError } from "./failure.ts";
import { observed, operationOf, recordOf } from "./outcome.ts";
import { payerOf } from "./payer.ts";
import { publishAnswer, publishText } from "./publish.ts";

export interface Asked {
  readonly request: ChatRequest;
  readonly form: AnswerForm;
  readonly stream: boolean;
  readonly view: AnswerView;
  /** Asked twice, it has the same answer. */
  readonly deterministic: boolean;
}

/** The streaming fields of a body, as {@link Asked} has them. */
export function viewOf(
  body: {
    stream?: boolean | null | undefined;
    stream_options?: { include_usage?: unknown; include_sortie?: unknown } | null | undefined;
    temperature?: number | null | undefined;
    seed?: number | null | undefined;
  },
  logprobs: boolean,
): Pick<Asked, "stream" | "view" | "deterministic"> {
  const options = body.stream_options;
  return {
    stream: body.stream === true,
    deterministic: body.temperature === 0 || typeof body.seed === "number",
    view: { logprobs, includeUsage: options?.include_usage === true, includeSortie: options?.include_sortie === true },
  };
}

/** Asks the flow and tells its answer. @throws what the flow throws before its first token */
export async function respond(c: Context<AppEnv>, flow: Flow, asked: Asked): Promise<Response> {
  const { form, view } = asked;
  const request = {
    ...asked.request,
    whole: !asked.stream,
    ...cachingOf(c.req.header("cache-control"), asked.deterministic),
  };
  const reader = new AbortController(); // aborted when the answer's stream is cancelled
  const signal = AbortSignal.any([c.req.raw.signal, reader.signal]);
  const deps = await flow.chatDeps(c.env, c.req.raw);
  const { bundle } = deps.catalogue;
  const [answer, span] = await withOpenSpan(`${operationOf(request)} ${bundle.name}`, {}, async (open) => {
    try {
      return [await flow.chat(deps, payerOf(c, flow), request, signal), open] as const;
    } catch (error) {
      open.end(String(error));
      throw error;
    }
  });
  const { fingerprint } = bundle;
  const events = observed(answer.events, signal, settings(c.env).logText, (outcome) => {
    publishAnswer(c, recordOf(request, answer, outcome, c.var, { fingerprint, traceId: span.traceId }), span);
    publishText(c, request, outcome.text);
  });
  const head = headOf(form, answer, fingerprint);
  const choices = request.prompts.length * request.choices;
  for (const [name, value] of Object.entries(answer.headers)) c.header(name, value);
  if (answer.cache !== undefined) c.header("x-sortie-cache", answer.cache);
  if (!asked.stream) {
    const { pieces, end } = await collect(events, choices);
    setRouteHeaders(c, end.route);
    c.header("x-sortie-cost-usd", formatUsd(end.charge.cost));
    const whole = pieces.map((own, index) => form.whole(index, own, end.finishReasons[index] ?? "stop", view));
    return c.json(wholeAnswer(form, head, whole, end));
  }
  const told = (error: unknown) => toApiError(error, c.var.requestId, signal.aborted);
  const frames = answerFrames(form, head, view, choices, events, told);
  setRouteHeaders(c, answer.route);
  return c.body(eventStream(frames, { onCancel: (reason) => reader.abort(reason) }), 200, SSE_HEADERS);
}

/** What a client allows of the response cache (RFC 9111, section 5.2.1). */
export function cachingOf(cacheControl: string | undefined, deterministic: boolean): Pick<ChatRequest, "caching"> {
  if (!deterministic) return {};
  const directives = (cacheControl ?? "")
    .toLowerCase()
    .split(",")
    .map((directive) => directive.trim());
  const store = !directives.includes("no-store");
  return { caching: { read: store && !directives.includes("no-cache"), store } };
}

function headOf({ idPrefix }: AnswerForm, { model }: ChatAnswer, fingerprint: string): AnswerHead {
  const id = `${idPrefix}-${crypto.randomUUID().replaceAll("-", "")}`;
  return { id, created: Math.floor(Date.now() / 1000), model, fingerprint };
}

/** Pieces by choice, and the end. */
async function collect(events: AsyncIterable<TextEvent>, choices: number) {
  const pieces = Array.from({ length: choices }, (): ChoicePiece[] => []);
  for await (const event of events) {
    if (event.type === "end") return { pieces, end: event };
    if (event.type === "text") pieces[event.index]?.push(event);
  }
  throw new Error("the answer ended without its end event");
}

/** A stream's headers state the first decision, a whole answer's the last; of several choices, the first one's. */
function setRouteHeaders(c: Context<AppEnv>, { exit, tier, reason }: Route): void {
  c.header("x-sortie-exit", String(exit));
  c.header("x-sortie-tier", tier);
  c.header("x-sortie-route", reason);
}

/** 0..2^32-1 */
export function randomSeed(): number {
  return crypto.getRandomValues(new Uint32Array(1))[0] ?? 0;
}
