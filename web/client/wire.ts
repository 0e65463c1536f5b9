/** The parts of Sortie's HTTP surface that the pages and `sortie chat` read, as types of the schemas that the Worker answers by. */
import type { z } from "zod";
import type { tenantSchema } from "../../src/api/admin-schemas.ts";
import type { healthSchema } from "../../src/api/catalogue-answer.ts";
import type { chatCompletionChunkSchema } from "../../src/api/chat-answer.ts";
import type { playgroundSchema } from "../../src/api/playground-answer.ts";
import type { driftSchema } from "../../src/api/route-schemas.ts";
import type { trafficSchema } from "../../src/api/traffic-schemas.ts";
import type { budgetViewSchema, usageBodySchema } from "../../src/api/usage-schemas.ts";

export type ChatChunk = z.infer<typeof chatCompletionChunkSchema>;
export type Health = z.infer<typeof healthSchema>;
export type BudgetBody = z.infer<typeof budgetViewSchema>;
export type UsageBody = z.infer<typeof usageBodySchema>;
export type TenantBody = z.infer<typeof tenantSchema>;
export type TrafficBody = z.infer<typeof trafficSchema>;
export type DriftBody = z.infer<typeof driftSchema>;
export type Playground = z.infer<typeof playgroundSchema>;

/** What is sent as one turn of a conversation. */
export interface Message {
  readonly role: "system" | "user" | "assistant";
  readonly content: string;
}
