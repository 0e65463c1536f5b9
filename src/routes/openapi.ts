/** `GET /openapi.json`: the contract, for machines. Open to everyone; it is the same for all. */
import { Hono } from "hono";
import { openApiDocument } from "../api/openapi.ts";
import type { AppEnv } from "./context.ts";
import { ENDPOINTS } from "./endpoints.ts";

let document: ReturnType<typeof openApiDocument> | null = null; // made once an isolate, when first asked for

export function openApi(): Hono<AppEnv> {
  return new Hono<AppEnv>().get("/", (c) => c.json((document ??= openApiDocument(ENDPOINTS))));
}
