/** The body of a request that computes, parsed in its tenant's turns. */
import type { Context } from "hono";
import type { z } from "zod";
import { jsonBytes, parsing } from "../api/json-body.ts";
import type { AppEnv, Flow } from "./context.ts";

/** @throws ApiError 415, or 400 naming what is wrong; the signal's reason when the client is gone */
export async function bodyInTurns<T extends z.ZodType>(
  c: Context<AppEnv>,
  { turns }: Flow,
  schema: T,
): Promise<z.infer<T>> {
  const bytes = await jsonBytes(c.req.raw);
  return turns.run(c.var.caller.tenant, parsing(bytes, schema), c.req.raw.signal);
}
