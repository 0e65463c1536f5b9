/** The operator's page in a real Chromium: what an operator sees and does. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { ADMIN_TOKEN as TOKEN, DEMO_KEY, startServer, type RunningServer } from "../contract/support/server.ts";
import { accessibilityFaults, noBrowser, startPages, type Pages, type WatchedPage } from "./support/pages.ts";

let server: RunningServer;
let pages: Pages;
beforeAll(async () => {
  if (noBrowser) return;
  server = await startServer();
  pages = await startPages(server.url);
  await Promise.all([ask("tiny"), ask("tiny:exit-12"), ask("tiny:exit-99")]);
});
afterAll(async () => {
  await pages?.close();
  await server?.stop();
});

async function ask(model: string, key = DEMO_KEY): Promise<number> {
  const response = await fetch(`${server.url}/v1/chat/completions`, {
    method: "POST",
    headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
    body: JSON.stringify({ model, messages: [{ role: "user", content: "What is the capital of France?" }] }),
  });
  await response.text();
  return response.status;
}

async function signedIn(options?: Parameters<Pages["open"]>[1]): Promise<WatchedPage> {
  const watched = await pages.open("/admin", options);
  await watched.page.getByLabel("Admin token").fill(TOKEN);
  await watched.page.getByRole("button", { name: "Sign in" }).click();
  await watched.page.getByRole("heading", { name: "The last day" }).waitFor();
  return watched;
}

test.skipIf(noBrowser)("a wrong token opens nothing", async () => {
  const { page, verify } = await pages.open("/admin");
  await page.getByLabel("Admin token").fill("wrong");
  await page.getByRole("button", { name: "Sign in" }).click();
  expect(await page.getByRole("alert").textContent()).toContain("Incorrect admin token");
  expect(await page.locator("table").count()).toBe(0);
  expect(await accessibilityFaults(page)).toEqual([]);
  verify(/401/);
});

test.skipIf(noBrowser)("the overview: requests, savings, latency, exits, gates, errors", async () => {
  const { page, verify } = await signedIn();
  const overview = page.locator("section", { hasText: "The last" });
  await overview.getByText("1 refused").waitFor();
  const tiles = await overview.locator(".tiles").textContent();
  expect(tiles).toMatch(/Charged\$0\.0000\d+\d+ % below the deepest exit/);
  expect(tiles).toMatch(/First token[\d.]+ m?sp90/);
  expect(await overview.getByRole("row", { name: /12 origin/ }).textContent()).toContain("%");
  const against = overview.getByRole("table", { name: /Exits 3-12, target 95 %: 1 answers/ });
  expect(await against.getByRole("row", { name: /^gate prefill 100 % \d+ % -?\d/ }).count()).toBe(1);
  expect(await against.getByRole("row", { name: /^exit [36] 100 % \d+ % -?\d/ }).count()).toBe(1);
  expect(await against.getByRole("row", { name: /^exit 12/ }).count()).toBe(0); // it was named, not chosen
  expect(await overview.getByRole("row", { name: /404 model_not_found/ }).textContent()).toContain("1");
  expect(await overview.getByRole("img", { name: /Answers by exit\. / }).getAttribute("aria-label")).toMatch(/: \d+/);
  expect(await accessibilityFaults(page)).toEqual([]);
  verify();
});

test.skipIf(noBrowser)("a key is made, opens the API, is revoked, opens nothing", async () => {
  const { page, verify } = await signedIn();
  const demo = page.locator("section", { has: page.getByRole("heading", { name: "demo" }) });
  await demo.getByLabel("Label of a new key for demo").fill("web");
  await demo.getByRole("button", { name: "Create key" }).click();
  const key = (await demo.getByRole("status").locator("code").textContent()) ?? "";
  expect(key).toMatch(/^sk-sortie-demo-[0-9a-f]+$/);
  expect(await ask("tiny:exit-3", key)).toBe(200);
  page.once("dialog", (dialog) => void dialog.accept());
  await demo.getByRole("button", { name: "Revoke web" }).click();
  await demo.getByRole("row", { name: /web.*revoked/ }).waitFor();
  expect(await ask("tiny:exit-3", key)).toBe(401);
  verify();
});

test.skipIf(noBrowser)("a budget's limit is changed, and holds at once", async () => {
  const { page, verify } = await signedIn();
  const demo = page.locator("section", { has: page.getByRole("heading", { name: "demo" }) });
  const limit = demo.locator("form", { hasText: "Limit of daily" });
  await limit.getByRole("spinbutton").fill("0");
  await limit.getByRole("button", { name: "Set" }).click();
  await demo.getByText("held of $0.00 per day").waitFor();
  expect(await ask("tiny")).toBe(429);
  await limit.getByRole("spinbutton").fill("5");
  await limit.getByRole("button", { name: "Set" }).click();
  await demo.getByText("held of $5.00 per day").waitFor();
  expect(await ask("tiny")).toBe(200);
  verify();
});

test.skipIf(noBrowser)("on a phone nothing is wider than the screen, in the dark, too", async () => {
  const { page, verify } = await signedIn({ width: 360, dark: true });
  expect(await page.evaluate("document.documentElement.scrollWidth")).toBeLessThanOrEqual(360);
  expect(await accessibilityFaults(page)).toEqual([]);
  verify();
});
