/** How an answer ended, told once, whoever ended it, as a record of the request. */
import type { AnswerEnd, ChatAnswer, ChatRequest, TextEvent } from "../conversation.ts";
import type { AnswerRecord } from "../telemetry/request-event.ts";
import type { AppEnv } from "./context.ts";

/** What was seen of an answer while it passed. */
export interface Seen {
  /** Output tokens by exit layer. */
  readonly tokensByExit: Readonly<Record<string, number>>;
  /** Milliseconds since 1970; null: no token came. */
  readonly firstTokenAt: number | null;
  /** Of all choices, in the order it came; empty unless the operator wants to see it. */
  readonly text: string;
}

export type Outcome = Seen &
  (
    | { readonly kind: "completed"; readonly end: AnswerEnd }
    /** The reader left. */
    | { readonly kind: "cancelled" }
    | { readonly kind: "failed" }
  );

/**
 * Passes events on and tells the outcome, exactly once, when they end or the client is gone: events that are never
 * read, or hang, have an outcome too.
 * @param signal aborted when the client is gone
 * @param keepText whether the answer's text may be seen
 */
export function observed(
  events: AsyncIterable<TextEvent>,
  signal: AbortSignal,
  keepText: boolean,
  report: (outcome: Outcome) => void,
): AsyncGenerator<TextEvent, void> {
  const tokensByExit: Record<string, number> = {};
  let firstTokenAt: number | null = null;
  let text = "";
  let told = false;
  function settle(ending: { kind: "completed"; end: AnswerEnd } | { kind: "cancelled" | "failed" }): void {
    if (!told) report({ ...ending, tokensByExit, firstTokenAt, text });
    told = true;
  }
  function see(event: Extract<TextEvent, { type: "text" }>): void {
    firstTokenAt ??= Date.now();
    if (keepText) text += event.text;
    for (const { exit } of event.tokens) tokensByExit[exit] = (tokensByExit[exit] ?? 0) + 1;
  }

  async function* passOn(): AsyncGenerator<TextEvent, void> {
    try {
      for await (const event of events) {
        if (event.type === "end") settle({ kind: "completed", end: event });
        else if (event.type === "text") see(event);
        yield event;
      }
    } catch (error) {
      settle({ kind: "failed" });
      throw error;
    } finally {
      settle({ kind: "cancelled" });
    }
  }

  const cancelled = (): void => settle({ kind: "cancelled" });
  if (signal.aborted) cancelled();
  else signal.addEventListener("abort", cancelled, { once: true });
  return passOn();
}

/** OpenTelemetry's name of what is asked. */
export function operationOf({ prompts }: ChatRequest): AnswerRecord["operation"] {
  return prompts[0]?.kind === "messages" ? "chat" : "text_completion";
}

/** Everything that is told of a request that got an answer. */
export function recordOf(
  request: ChatRequest,
  answer: ChatAnswer,
  outcome: Outcome,
  { startedAt, caller }: Pick<AppEnv["Variables"], "startedAt" | "caller">,
  ids: Pick<AnswerRecord, "fingerprint" | "traceId">,
): AnswerRecord {
  const end = outcome.kind === "completed" ? outcome.end : null;
  const { exit, tier, reason } = end?.route ?? answer.route;
  const { cost, fullDepthCost } = answer.charge();
  return {
    ending: outcome.kind,
    requestId: request.requestId,
    tenant: caller.tenant,
    keyId: caller.keyId,
    operation: operationOf(request),
    choices: request.prompts.length * request.choices,
    requestModel: request.model,
    responseModel: answer.model,
    firstExit: answer.route.exit,
    firstTier: answer.route.tier,
    exit,
    tier,
    route: reason,
    cache: answer.cache ?? null,
    finishReasons: end?.finishReasons ?? [],
    inputTokens: end?.usage.prompt_tokens ?? answer.promptTokens,
    cachedTokens: end?.usage.cached_tokens ?? 0,
    tokensByExit: end?.usage.completion_tokens_by_exit ?? outcome.tokensByExit,
    cost,
    fullDepthCost,
    firstTokenMs: outcome.firstTokenAt === null ? null : outcome.firstTokenAt - startedAt,
    durationMs: Date.now() - startedAt,
    timings: end?.timings ? { ...end.timings } : null,
    ...ids,
  };
}
