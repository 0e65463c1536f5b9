/** Every address of the HTTP surface with its schemas, in one table. A test holds the app's routes to it. */
import { z } from "zod";
import {
  appliedSchema,
  closedSchema,
  createdKeySchema,
  declarationSchema,
  limitSetSchema,
  newKeySchema,
  newLimitSchema,
  revokedKeySchema,
  tenantListSchema,
  tenantSchema,
} from "../api/admin-schemas.ts";
import { healthSchema, modelListSchema, modelSchema } from "../api/catalogue-answer.ts";
import { chatCompletionAnswerSchema, chatCompletionChunkSchema } from "../api/chat-answer.ts";
import { chatCompletionSchema } from "../api/chat-request.ts";
import { completionAnswerSchema, completionChunkSchema } from "../api/completion-answer.ts";
import { completionSchema } from "../api/completion-request.ts";
import type { Endpoint, ErrorStatus } from "../api/openapi.ts";
import { playgroundSchema } from "../api/playground-answer.ts";
import { trafficQueryFields, trafficSchema } from "../api/traffic-schemas.ts";
import { explainSchema, explanationSchema } from "../api/route-schemas.ts";
import { usageBodySchema, usageQueryFields } from "../api/usage-schemas.ts";
import { tenantNameSchema } from "../tenant/policy.ts";

/** What an answer of the model may end with: no such model or exit, no money or too much haste, a tier that fails. */
const MODEL_ERRORS: readonly ErrorStatus[] = [403, 404, 429, 502, 503, 504];
const NAME = { name: tenantNameSchema };
const USAGE_ANSWER = { "application/json": usageBodySchema, "text/csv": z.string() };

export const ENDPOINTS: readonly Endpoint[] = [
  {
    method: "post",
    path: "/v1/chat/completions",
    name: "ChatCompletion",
    summary: "Answers a conversation.",
    access: "key",
    body: chatCompletionSchema,
    answer: { "application/json": chatCompletionAnswerSchema, "text/event-stream": chatCompletionChunkSchema },
    errors: MODEL_ERRORS,
  },
  {
    method: "post",
    path: "/v1/completions",
    name: "Completion",
    summary: "Continues plain text or token ids (OpenAI's legacy completions).",
    access: "key",
    body: completionSchema,
    answer: { "application/json": completionAnswerSchema, "text/event-stream": completionChunkSchema },
    errors: MODEL_ERRORS,
  },
  {
    method: "get",
    path: "/v1/models",
    name: "ModelList",
    summary: "Lists every model id that is answered to.",
    access: "key",
    answer: { "application/json": modelListSchema },
    errors: [],
  },
  {
    method: "get",
    path: "/v1/models/{id}",
    name: "Model",
    summary: "One of the model ids.",
    access: "key",
    pathParameters: { id: z.string() },
    answer: { "application/json": modelSchema },
    errors: [404],
  },
  {
    method: "get",
    path: "/v1/usage",
    name: "Usage",
    summary: "What the key's tenant has used, by day, exit and tier, and its budgets as they stand.",
    access: "key",
    query: usageQueryFields,
    answer: USAGE_ANSWER,
    errors: [400],
  },
  {
    method: "get",
    path: "/admin/v1/tenants",
    name: "TenantList",
    summary: "Every tenant that was ever applied.",
    access: "admin",
    answer: { "application/json": tenantListSchema },
    errors: [],
  },
  {
    method: "get",
    path: "/admin/v1/tenants/{name}",
    name: "Tenant",
    summary: "A tenant's policy, keys and budgets as they stand.",
    access: "admin",
    pathParameters: NAME,
    answer: { "application/json": tenantSchema },
    errors: [404],
  },
  {
    method: "put",
    path: "/admin/v1/tenants/{name}",
    name: "TenantApply",
    summary: "Makes a tenant as declared. Declared keys that are left out are revoked; applying twice changes nothing.",
    access: "admin",
    pathParameters: NAME,
    body: declarationSchema,
    answer: { "application/json": appliedSchema },
    errors: [404],
  },
  {
    method: "delete",
    path: "/admin/v1/tenants/{name}",
    name: "TenantClose",
    summary: "Closes a tenant: no key opens it any more; its records stay.",
    access: "admin",
    pathParameters: NAME,
    answer: { "application/json": closedSchema },
    errors: [404],
  },
  {
    method: "post",
    path: "/admin/v1/tenants/{name}/keys",
    name: "KeyCreate",
    summary: "Makes a key, told this once; or rolls one over.",
    access: "admin",
    pathParameters: NAME,
    body: newKeySchema,
    answer: { "application/json": createdKeySchema },
    statuses: [201],
    errors: [404],
  },
  {
    method: "delete",
    path: "/admin/v1/tenants/{name}/keys/{id}",
    name: "KeyRevoke",
    summary: "Revokes a key, at once and for good.",
    access: "admin",
    pathParameters: { ...NAME, id: z.string() },
    answer: { "application/json": revokedKeySchema },
    errors: [404],
  },
  {
    method: "put",
    path: "/admin/v1/tenants/{name}/budgets/{budget}",
    name: "BudgetLimit",
    summary: "Sets a budget's hard limit, until tenants.toml is applied again.",
    access: "admin",
    pathParameters: { ...NAME, budget: z.string() },
    body: newLimitSchema,
    answer: { "application/json": limitSetSchema },
    errors: [400, 404],
  },
  {
    method: "get",
    path: "/admin/v1/tenants/{name}/usage",
    name: "TenantUsage",
    summary: "What a tenant has used, by day, exit and tier, and its budgets as they stand.",
    access: "admin",
    pathParameters: NAME,
    query: usageQueryFields,
    answer: USAGE_ANSWER,
    errors: [400, 404],
  },
  {
    method: "post",
    path: "/admin/v1/route/explain",
    name: "RouteExplain",
    summary: "What the router would do with a conversation, and why. Nothing is run.",
    access: "admin",
    body: explainSchema,
    answer: { "application/json": explanationSchema },
    errors: [400, 403, 404],
  },
  {
    method: "get",
    path: "/admin/v1/traffic",
    name: "Traffic",
    summary: "Requests of all tenants by the hour: exits, gates, caches, errors, cost, latency.",
    access: "admin",
    query: trafficQueryFields,
    answer: { "application/json": trafficSchema },
    errors: [400],
  },
  {
    method: "get",
    path: "/healthz",
    name: "Health",
    summary: "What is served, and which tiers can serve it; 503 when none can.",
    access: "open",
    answer: { "application/json": healthSchema },
    statuses: [200, 503],
    errors: [],
  },
  page("/", "Playground", "The playground."),
  page("/admin", "OperatorPage", "The operator's page; it asks for the admin token."),
  {
    method: "get",
    path: "/pages/{file}",
    name: "PageFile",
    summary: "A script, style or picture of a page.",
    access: "open",
    pathParameters: { file: z.string() },
    answer: { "text/javascript": z.string(), "text/css": z.string(), "image/svg+xml": z.string() },
    errors: [404],
  },
  {
    method: "get",
    path: "/playground.json",
    name: "PlaygroundSettings",
    summary: "What the playground offers to visitors.",
    access: "open",
    answer: { "application/json": playgroundSchema },
    errors: [],
  },
  {
    method: "get",
    path: "/openapi.json",
    name: "OpenApi",
    summary: "This document.",
    access: "open",
    answer: { "application/json": z.looseObject({ openapi: z.string() }) },
    errors: [],
  },
];

function page(path: `/${string}`, name: string, summary: string): Endpoint {
  return { method: "get", path, name, summary, access: "open", answer: { "text/html": z.string() }, errors: [] };
}
