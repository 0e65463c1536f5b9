/** Mounts middleware and routes, and turns every failure into OpenAI's error form. */
import { Hono, type Context, type MiddlewareHandler } from "hono";
import { bodyLimit } from "hono/body-limit";
import { cors } from "hono/cors";
import { methodNotAllowed } from "hono/method-not-allowed";
import { requestId } from "hono/request-id";
import { MAX_BODY_BYTES, MAX_HEADER_BYTES, MAX_REQUEST_ID_CHARS } from "./api/bounds.ts";
import { settings } from "./env.ts";
import { ApiError, type ErrorDetails } from "./errors.ts";
import { admin } from "./routes/admin.ts";
import { admit, authenticate } from "./routes/authenticate.ts";
import { chatCompletions } from "./routes/chat-completions.ts";
import { completions } from "./routes/completions.ts";
import type { AppEnv, Flow } from "./routes/context.ts";
import { toApiError } from "./routes/failure.ts";
import { health } from "./routes/health.ts";
import { models } from "./routes/models.ts";
import { openApi } from "./routes/openapi.ts";
import { pages, securityHeaders } from "./routes/pages.ts";
import { publishRefusal } from "./routes/publish.ts";
import { requireAdmin } from "./routes/require-admin.ts";
import { traffic } from "./routes/traffic.ts";
import { routeAdmin } from "./routes/route-admin.ts";
import { usage } from "./routes/usage.ts";
import { RATE_HEADERS } from "./tenant/headers.ts";

/** Headers a browser's script may read. */
const EXPOSED_HEADERS = [
  "x-request-id",
  "openai-processing-ms",
  "x-sortie-exit",
  "x-sortie-tier",
  "x-sortie-route",
  "x-sortie-cache",
  "x-sortie-cost-usd",
  ...RATE_HEADERS,
];
/** Seconds a browser may remember a preflight: Chromium's longest. */
const PREFLIGHT_MAX_AGE = 7200;
const ADMIN_PATH = "/admin/";

export function createApp(flow: Flow): Hono<AppEnv> {
  const app = new Hono<AppEnv>();
  app.onError((error, c) => {
    const told = toApiError(error, c.var.requestId, c.req.raw.signal.aborted);
    if (c.req.method === "POST" && c.req.path.startsWith("/v1/")) publishRefusal(c, told.status, told.code);
    return fail(c, told);
  });
  app.notFound((c) => fail(c, refusal(404, null, `Unknown request URL: ${c.req.method} ${c.req.path}.`)));

  app.use(requestId({ limitLength: MAX_REQUEST_ID_CHARS }), processingTime);
  app.use(securityHeaders);
  app.use(crossOrigin());
  app.use(methodNotAllowed({ app, onMethodNotAllowed: wrongMethod }));
  app.use(boundedHeaders, boundedLength);
  const boundedBody = bodyLimit({ maxSize: MAX_BODY_BYTES, onError: tooLarge });
  app.post("/v1/chat/completions", admit(flow), boundedBody);
  app.post("/v1/completions", admit(flow), boundedBody);
  app.use("/v1/*", authenticate(flow), boundedBody);
  app.use("/admin/v1/*", requireAdmin, boundedBody);

  app.route("/v1/chat/completions", chatCompletions(flow));
  app.route("/v1/completions", completions(flow));
  app.route("/v1/models", models(flow));
  app.route("/v1/usage", usage(flow));
  app.route("/admin/v1/traffic", traffic());
  app.route("/admin/v1/route", routeAdmin(flow));
  app.route("/admin/v1", admin(flow));
  app.route("/healthz", health(flow));
  app.route("/openapi.json", openApi());
  app.route("/", pages());
  return app;
}

const processingTime: MiddlewareHandler<AppEnv> = async (c, next) => {
  c.set("startedAt", Date.now());
  await next();
  c.header("openai-processing-ms", String(Date.now() - c.var.startedAt));
};

function crossOrigin(): MiddlewareHandler<AppEnv> {
  return cors({
    origin(origin, c: Context<AppEnv>) {
      if (c.req.path.startsWith(ADMIN_PATH)) return null; // the operator's page is of this origin
      const allowed = settings(c.env).corsOrigins;
      if (allowed.includes("*")) return "*";
      return allowed.includes(origin) ? origin : null;
    },
    allowMethods: ["GET", "POST"],
    exposeHeaders: EXPOSED_HEADERS,
    maxAge: PREFLIGHT_MAX_AGE,
  });
}

const boundedHeaders: MiddlewareHandler<AppEnv> = async (c, next) => {
  let bytes = 0;
  for (const [name, value] of c.req.raw.headers) bytes += name.length + value.length;
  if (bytes > MAX_HEADER_BYTES) {
    throw refusal(431, "headers_too_large", `The request's headers are larger than ${MAX_HEADER_BYTES} bytes.`);
  }
  await next();
};

/** A body that says it is too large is refused before anybody is asked whose it is; others are counted as they come. */
const boundedLength: MiddlewareHandler<AppEnv> = async (c, next) => {
  if (Number(c.req.header("content-length") ?? 0) > MAX_BODY_BYTES) tooLarge();
  await next();
};

function tooLarge(): never {
  throw refusal(413, "body_too_large", `The request's body is larger than ${MAX_BODY_BYTES} bytes.`);
}

function wrongMethod(c: Context, methods: string[]): Response {
  const allow = methods.join(", ");
  const message = `Not allowed to ${c.req.method} on ${c.req.path}. Allowed: ${allow}.`;
  return fail(c, refusal(405, "method_not_allowed", message, { allow }));
}

function refusal(
  status: ErrorDetails["status"],
  code: string | null,
  message: string,
  headers: Readonly<Record<string, string>> = {},
): ApiError {
  return new ApiError(message, { status, type: "invalid_request_error", code, headers });
}

function fail(c: Context, error: ApiError): Response {
  for (const [name, value] of Object.entries(error.headers)) c.header(name, value);
  return Response.json(error.toBody(), { status: error.status, headers: c.res.headers });
}
