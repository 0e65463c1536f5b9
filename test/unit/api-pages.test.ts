import { describe, expect, test } from "vitest";
import { ENV, scriptedApp } from "./api-flow.ts";

const TYPES: Readonly<Record<string, string>> = { html: "text/html", js: "text/javascript", css: "text/css" };
/** Assets that have the pages, and a model's file that nobody may read. */
const FILES: Readonly<Record<string, string>> = {
  "/pages/playground.html": "<title>Sortie",
  "/pages/admin.html": "<title>Operator",
  "/pages/playground.js": "render()",
  "/rim.0.bin": "weights",
};
const ASSETS = {
  async fetch(address: string, init?: { headers?: Headers }) {
    const { pathname } = new URL(address);
    const body = FILES[pathname];
    if (body === undefined) return new Response(null, { status: 404 });
    if (init?.headers?.get("if-none-match") === '"1"') return new Response(null, { status: 304 });
    return new Response(body, {
      headers: { "content-type": TYPES[pathname.split(".").at(-1) ?? ""] ?? "", etag: '"1"' },
    });
  },
};
const get = (path: string, headers: Record<string, string> = {}, env: object = {}) =>
  scriptedApp().app.request(path, { headers }, { ...ENV, ASSETS, ...env });

describe("pages", () => {
  test.each([
    ["/", "Sortie"],
    ["/admin", "Operator"],
  ])("%s is a page that may load and ask its own deployment alone", async (path, title) => {
    const response = await get(path);
    expect(response.status).toBe(200);
    expect(await response.text()).toContain(title);
    const policy = response.headers.get("content-security-policy");
    expect(policy).toBe(
      "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    );
    expect(response.headers.get("x-frame-options")).toBe("SAMEORIGIN");
  });

  test("a file that was seen is not sent again", async () => {
    expect((await get("/pages/playground.js")).headers.get("etag")).toBe('"1"');
    expect((await get("/pages/playground.js", { "if-none-match": '"1"' })).status).toBe(304);
  });

  test.each([
    "/pages/rim.0.bin",
    "/pages/..%2frim.0.bin",
    "/pages/%2e%2e/rim.0.bin",
    "/rim.0.bin",
    "/pages/none.js",
    "/pages/playground.html",
  ])("%s is not to be had", async (path) => {
    const response = await get(path);
    expect(response.status).toBe(404);
    expect(await response.json()).toMatchObject({ error: { type: "invalid_request_error" } });
  });

  test("visitors get a key only where the operator gives one", async () => {
    expect(await (await get("/playground.json")).json()).toEqual({ visitor_key: null });
    const given = await get("/playground.json", {}, { PLAYGROUND_KEY: "sk-sortie-demo-local" });
    expect(await given.json()).toEqual({ visitor_key: "sk-sortie-demo-local" });
  });

  test("no other origin may read the admin API, whatever CORS allows", async () => {
    const headers = { origin: "https://app.example" };
    const cors = async (path: string) => (await get(path, headers)).headers.get("access-control-allow-origin");
    expect(await cors("/v1/models")).toBe("https://app.example");
    expect(await cors("/admin/v1/tenants")).toBeNull();
  });
});
