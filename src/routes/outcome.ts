/** How an answer ended, told once, whoever ended it. */
import { completionTokens } from "../api/answer.ts";
import type { AnswerEnd, ChatAnswer, ChatRequest, TextEvent } from "../conversation.ts";
import { log } from "../log.ts";
import type { AppEnv } from "./context.ts";

export type Outcome =
  | { readonly kind: "completed"; readonly end: AnswerEnd }
  /** The reader left; tokens that were sent, by exit layer. */
  | { readonly kind: "cancelled"; readonly sent: Readonly<Record<string, number>> }
  | { readonly kind: "failed"; readonly sent: Readonly<Record<string, number>> };

/**
 * Passes events on and tells the outcome, exactly once, when they end or the client is gone: events that are never
 * read, or hang, have an outcome too.
 * @param signal aborted when the client is gone
 */
export function observed(
  events: AsyncIterable<TextEvent>,
  signal: AbortSignal,
  report: (outcome: Outcome) => void,
): AsyncGenerator<TextEvent, void> {
  const sent: Record<string, number> = {};
  let told = false;
  function settle(outcome: Outcome): void {
    if (!told) report(outcome);
    told = true;
  }

  async function* passOn(): AsyncGenerator<TextEvent, void> {
    try {
      for await (const event of events) {
        if (event.type === "end") settle({ kind: "completed", end: event });
        else if (event.type === "text") for (const { exit } of event.tokens) sent[exit] = (sent[exit] ?? 0) + 1;
        yield event;
      }
    } catch (error) {
      settle({ kind: "failed", sent });
      throw error;
    } finally {
      settle({ kind: "cancelled", sent });
    }
  }

  const cancelled = (): void => settle({ kind: "cancelled", sent });
  if (signal.aborted) cancelled();
  else signal.addEventListener("abort", cancelled, { once: true });
  return passOn();
}

/** The one line of a chat request that got an answer. Attribute names follow OpenTelemetry's for generative AI. */
export function logOutcome(
  request: ChatRequest,
  answer: ChatAnswer,
  outcome: Outcome,
  { startedAt, caller }: Pick<AppEnv["Variables"], "startedAt" | "caller">,
): void {
  const charge = answer.charge();
  const shared = {
    request_id: request.requestId,
    tenant: caller.tenant,
    key_id: caller.keyId,
    "gen_ai.operation.name": request.prompts[0]?.kind === "messages" ? "chat" : "text_completion",
    "gen_ai.request.choice.count": request.prompts.length * request.choices,
    "gen_ai.request.model": request.model,
    "gen_ai.response.model": answer.model,
    first_exit: answer.route.exit,
    first_tier: answer.route.tier,
    route: answer.route.reason,
    cost_micro_usd: charge.cost,
    full_depth_cost_micro_usd: charge.fullDepthCost,
    duration_ms: Date.now() - startedAt,
  };
  if (outcome.kind !== "completed") {
    const fields = { ...shared, "gen_ai.usage.input_tokens": answer.promptTokens, tokens_by_exit: outcome.sent };
    log(`chat.${outcome.kind}`, fields, outcome.kind === "failed" ? "error" : "info");
    return;
  }
  const { usage, timings, finishReasons, route } = outcome.end;
  log("chat.completed", {
    ...shared,
    exit: route.exit,
    tier: route.tier,
    "gen_ai.response.finish_reasons": finishReasons,
    "gen_ai.usage.input_tokens": usage.prompt_tokens,
    "gen_ai.usage.output_tokens": completionTokens(usage),
    cached_tokens: usage.cached_tokens,
    tokens_by_exit: usage.completion_tokens_by_exit,
    ...timings,
  });
}
