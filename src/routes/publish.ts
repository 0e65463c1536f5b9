/** A request's record to everybody who listens: the log, the dataset, the counters, the span. */
import type { Context } from "hono";
import type { ChatRequest, Prompt } from "../conversation.ts";
import { settings } from "../env.ts";
import { log } from "../log.ts";
import { countsOf } from "../telemetry/counters.ts";
import { dataPoint } from "../telemetry/dataset.ts";
import {
  logFields,
  spanAttributes,
  type AnswerRecord,
  type RefusalRecord,
  type RequestRecord,
} from "../telemetry/request-event.ts";
import type { OpenSpan } from "../telemetry/span.ts";
import { count } from "../telemetry/traffic-client.ts";
import type { AppEnv } from "./context.ts";

/** @param span of the whole answer, which ends here */
export function publishAnswer(c: Context<AppEnv>, record: AnswerRecord, span: OpenSpan): void {
  log(`chat.${record.ending}`, logFields(record), record.ending === "failed" ? "error" : "info");
  const { indexes, blobs, doubles } = dataPoint(record);
  c.env.REQUESTS?.writeDataPoint({ indexes: [...indexes], blobs: [...blobs], doubles: [...doubles] });
  span.set(spanAttributes(record));
  span.end(record.ending === "failed" ? "the answer broke off" : undefined);
  counted(c, record);
}

/** A request of the model that got no answer. */
export function publishRefusal(c: Context<AppEnv>, status: number, code: string | null): void {
  const record: RefusalRecord = { ending: "refused", status, code: code ?? "" };
  counted(c, record);
}

/** What was asked and said, where the operator has switched that on. */
export function publishText(c: Context<AppEnv>, request: ChatRequest, text: string): void {
  if (!settings(c.env).logText) return;
  const input = JSON.stringify(request.prompts.map(promptText));
  log("chat.text", { request_id: request.requestId, "gen_ai.input.messages": input, "gen_ai.output.messages": text });
}

function promptText(prompt: Prompt): unknown {
  if (prompt.kind === "messages") return prompt.messages;
  return prompt.kind === "text" ? prompt.text : prompt.ids;
}

function counted(c: Context<AppEnv>, record: RequestRecord): void {
  if (c.env.TRAFFIC) c.executionCtx.waitUntil(count(c.env.TRAFFIC, countsOf(record)));
}
