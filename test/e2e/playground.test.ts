/** The playground in a real Chromium, over the whole of Sortie: what a visitor sees, and what goes wrong in front of them. */
import { createHash } from "node:crypto";
import { afterAll, beforeAll, expect, test } from "vitest";
import { ADMIN_TOKEN, startServer, type RunningServer } from "../contract/support/server.ts";
import { originOf } from "./support/processes.ts";
import { accessibilityFaults, noBrowser, startPages, type Pages, type WatchedPage } from "./support/pages.ts";
import { ESCALATED_PROMPT } from "../../scripts/trace/tree.ts";

/** The router hands it to the origin, too. */
const FAR =
  "B points to D, D points to K, K points to T, T points to F, F points to B. Start at B, take four steps. Where are you?";
/** A token's event takes about 500 bytes. */
const SLOW_BYTES_PER_SECOND = 4_000;

let server: RunningServer;
let pages: Pages;
beforeAll(async () => {
  if (noBrowser) return;
  server = await startServer();
  pages = await startPages(server.url);
});
afterAll(async () => {
  await pages?.close();
  await server?.stop();
});

/** The playground once it knows its deployment. */
async function visit(options?: Parameters<Pages["open"]>[1]): Promise<WatchedPage> {
  const watched = await pages.open("/", options);
  await watched.page.getByText("key for visitors").waitFor();
  return watched;
}

test.skipIf(noBrowser)("first visit to first answer: one click, and everything about the answer is there", async () => {
  const { page, verify } = await visit();
  await page.getByRole("button", { name: "how do you say dog in spanish" }).click();
  const answer = page.locator(".answer.state-done");
  await answer.waitFor();
  expect(await answer.locator(".text").textContent()).toContain("perro");
  expect(await answer.locator(".who").textContent()).toMatch(/edge exit [36]/);
  expect(await answer.locator(".verdict").textContent()).toMatch(/Gate \d .*score/);
  const figures = await answer.locator(".figures").textContent();
  for (const name of ["first token", "cost", "at the deepest exit", "saved"]) expect(figures).toContain(name);
  expect(figures).toMatch(/saved(50|75) %/);
  expect(await page.locator(".budget").first().textContent()).toContain("spent");
  expect(await accessibilityFaults(page)).toEqual([]);
  verify();
});

test.skipIf(noBrowser)("an escalation is seen: the tier, the gate, the exits", async () => {
  const { page, verify } = await visit();
  await page.getByLabel("Prompt").fill(ESCALATED_PROMPT);
  await page.keyboard.press("Enter");
  const answer = page.locator(".answer.state-done");
  await answer.waitFor();
  expect(await answer.locator(".who").textContent()).toMatch(/origin exit (9|12)/);
  expect(await answer.locator(".segment.run").count()).toBeGreaterThan(2);
  expect(await answer.locator(".token").first().getAttribute("title")).toMatch(/exit (9|12), \d+ % sure/);
  verify();
});

test.skipIf(noBrowser)("all exits at once answer side by side, each from its tier", async () => {
  const { page, verify } = await visit();
  await page.getByLabel("All exits at once").check();
  await page.getByLabel("Prompt").fill("What is the capital of France?");
  await page.keyboard.press("Enter");
  await page.locator(".answer.state-done").nth(3).waitFor();
  const heads = await page.locator(".who").allTextContents();
  expect(heads).toEqual(["edge exit 3", "edge exit 6", "origin exit 9", "origin exit 12"]);
  expect(await accessibilityFaults(page)).toEqual([]);
  verify();
});

test.skipIf(noBrowser)("the quality slider sends less to the origin", async () => {
  const { page, verify } = await visit();
  const exitAt = async (quality: string): Promise<number> => {
    await page.locator("label", { hasText: "Quality to keep" }).locator("input").fill(quality);
    await page.getByLabel("Prompt").fill(ESCALATED_PROMPT);
    await page.keyboard.press("Enter");
    await page.locator(".answer.state-done").waitFor();
    const told = (await page.locator(".who").textContent()) ?? "";
    await page.getByRole("button", { name: "New" }).click();
    return Number(/exit (\d+)/.exec(told)?.[1]);
  };
  expect(await exitAt("0.7")).toBeLessThan(await exitAt("1"));
  verify();
});

test.skipIf(noBrowser)("a wrong key is told, and the page goes on with a right one", async () => {
  const { page, verify } = await visit();
  await page.getByLabel("API key").fill("sk-sortie-demo-wrong");
  await page.getByLabel("Prompt").fill("Hello");
  await page.keyboard.press("Enter");
  expect(await page.getByRole("alert").textContent()).toContain("This key does not open anything here.");
  await page.getByLabel("API key").fill("sk-sortie-demo-local");
  await page.getByLabel("Prompt").fill("Hello");
  await page.keyboard.press("Enter");
  await page.locator(".answer.state-done").waitFor();
  verify(/401/);
});

test.skipIf(noBrowser)("Escape stops an answer, and what was written stays", async () => {
  const { page, verify } = await visit();
  await page.getByLabel("One fixed exit").check();
  await page.getByRole("combobox").selectOption("12");
  const devtools = await page.context().newCDPSession(page);
  const slow = { offline: false, latency: 0, downloadThroughput: SLOW_BYTES_PER_SECOND, uploadThroughput: -1 };
  await devtools.send("Network.emulateNetworkConditions", slow); // so that there is something left to stop
  await page.getByLabel("Prompt").fill("Tell me a short story about a fox, a lamp and a forest.");
  await page.keyboard.press("Enter");
  await page.locator(".answer .token").nth(2).waitFor();
  await page.keyboard.press("Escape");
  const answer = page.locator(".answer.state-stopped");
  await answer.waitFor();
  expect(await answer.locator(".text").textContent()).toMatch(/^A fox/);
  await page.getByRole("button", { name: "Ask" }).waitFor();
  expect(await page.getByRole("alert").count()).toBe(0);
  verify();
});

test.skipIf(noBrowser)("a spent budget is told with its state and its reset", async () => {
  const secret = "spent";
  const headers = { authorization: `Bearer ${ADMIN_TOKEN}`, "content-type": "application/json" };
  const digest = createHash("sha256").update(secret).digest("hex");
  const limits = { exits: null, budget_share: null, requests_per_minute: null };
  const key = { label: "web", secret_sha256: digest, expires_at: null, limits };
  const policy = {
    budgets: [{ name: "daily", period: "day", limit_micro_usd: 1, soft_limits: [] }],
    rates: { requests_per_minute: null, tokens_per_minute: null, concurrent_requests: null },
    exits: null,
    prices: { full_depth: { input: 100_000, cached_input: 50_000, output: 400_000 }, exits: {} },
  };
  const body = JSON.stringify({ policy, keys: [key] });
  const applied = await fetch(`${server.url}/admin/v1/tenants/acme`, { method: "PUT", headers, body });
  expect(await applied.text()).toContain("changed");
  const { page, verify } = await visit();
  await page.getByLabel("API key").fill(`sk-sortie-acme-${secret}`);
  await page.getByLabel("Prompt").fill(ESCALATED_PROMPT.repeat(3));
  await page.keyboard.press("Enter");
  const alert = await page.getByRole("alert").textContent();
  expect(alert).toContain("The budget is spent.");
  expect(alert).toMatch(/in budget “daily”. It resets \d/);
  verify(/429/);
});

test.skipIf(noBrowser)(
  "an origin that hangs: the router's answer comes from the edge and says so, a fixed deep exit is refused",
  async () => {
    const origin = originOf(server.pid);
    process.kill(origin, "SIGSTOP");
    try {
      const { page, verify } = await visit();
      await page.getByLabel("Prompt").fill(FAR);
      await page.keyboard.press("Enter");
      const answer = page.locator(".answer.state-done");
      await answer.waitFor();
      expect(await answer.locator(".who").textContent()).toMatch(/edge exit 6/);
      expect(await answer.locator(".verdict").textContent()).toContain("The origin cannot be reached");
      await page.getByRole("button", { name: "New" }).click();
      await page.getByLabel("One fixed exit").check();
      await page.getByRole("combobox").selectOption("12");
      await page.getByLabel("Prompt").fill("Hello");
      await page.keyboard.press("Enter");
      const alert = await page.getByRole("alert").textContent();
      expect(alert).toContain("No tier can answer right now.");
      expect(alert).toMatch(/Try again in \d+ s/);
      verify(/503/);
    } finally {
      process.kill(origin, "SIGCONT");
    }
  },
);

test.skipIf(noBrowser)("on a phone nothing is wider than the screen, in the dark, too", async () => {
  const { page, verify } = await visit({ width: 360, dark: true });
  await page.getByRole("button", { name: "Sort these numbers" }).click();
  await page.locator(".answer.state-done").waitFor();
  expect(await page.evaluate("document.documentElement.scrollWidth")).toBeLessThanOrEqual(360);
  expect(await accessibilityFaults(page)).toEqual([]);
  verify();
});
