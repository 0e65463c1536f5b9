/** The pages: the playground at `/`, the operator's at `/admin`, and their files. All are static assets of the Worker. */
import { type Context, Hono, type MiddlewareHandler } from "hono";
import { secureHeaders } from "hono/secure-headers";
import type { z } from "zod";
import type { playgroundSchema } from "../api/playground-answer.ts";
import { settings } from "../env.ts";
import { ApiError } from "../errors.ts";
import type { AppEnv } from "./context.ts";

/** Files of the pages, beside the model's in the assets (scripts/build/pages.ts). */
const FOLDER = "pages";
/** Host of requests to the assets binding; never resolved. */
const ASSETS_ORIGIN = "https://assets.local";
/** Names that the build makes: no way out of the folder. */
const FILE_NAME = /^[A-Za-z0-9-]+\.(js|css|svg)$/;

/** Only the deployment's own scripts and styles, and no connection to anybody else. */
const PAGE_HEADERS = secureHeaders({
  contentSecurityPolicy: {
    defaultSrc: ["'none'"],
    scriptSrc: ["'self'"],
    styleSrc: ["'self'"],
    imgSrc: ["'self'"],
    connectSrc: ["'self'"],
    baseUri: ["'none'"],
    formAction: ["'none'"],
    frameAncestors: ["'none'"],
  },
});
/** Answers of the API are no documents: nothing in them may be loaded or framed. */
const API_HEADERS = secureHeaders({ contentSecurityPolicy: { defaultSrc: ["'none'"], frameAncestors: ["'none'"] } });

const PAGES: ReadonlySet<string> = new Set(["/", "/admin"]);

export const securityHeaders: MiddlewareHandler = (c, next) =>
  (PAGES.has(c.req.path) ? PAGE_HEADERS : API_HEADERS)(c, next);

export function pages(): Hono<AppEnv> {
  return new Hono<AppEnv>()
    .get("/", (c) => file(c, "playground.html"))
    .get("/admin", (c) => file(c, "admin.html"))
    .get("/pages/:file", (c) => {
      const name = c.req.param("file");
      if (!FILE_NAME.test(name)) throw noFile(name);
      return file(c, name);
    })
    .get("/playground.json", (c) => {
      const answer: z.infer<typeof playgroundSchema> = { visitor_key: settings(c.env).playgroundKey };
      return c.json(answer);
    });
}

/** An asset as it is, with its validator, so that a page that was seen before is not sent again. */
async function file(c: Context<AppEnv>, name: string): Promise<Response> {
  const headers = new Headers();
  const known = c.req.header("if-none-match");
  if (known !== undefined) headers.set("if-none-match", known);
  const asset = await c.env.ASSETS.fetch(`${ASSETS_ORIGIN}/${FOLDER}/${name}`, { headers });
  if (asset.status === 404) throw noFile(name);
  return new Response(asset.body, asset);
}

function noFile(name: string): ApiError {
  return new ApiError(`There is no file ${JSON.stringify(name)}.`, {
    status: 404,
    type: "invalid_request_error",
    code: "not_found",
  });
}
