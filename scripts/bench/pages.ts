/**
 * `npm run bench:pages`: what the pages weigh, and how soon a visitor sees and does something, in a real Chromium over a
 * running Sortie. `--screenshots DIR` takes their pictures, too.
 */
import { join } from "node:path";
import { parseArgs } from "node:util";
import { brotliCompressSync, gzipSync } from "node:zlib";
import type { Browser } from "playwright-core";
import { launchBrowser } from "../browser.ts";
import { localAdminToken } from "../tenants/admin-token.ts";
import { median } from "./rounds.ts";
import { ESCALATED_PROMPT } from "../trace/tree.ts";

const HELP = `npm run bench:pages -- [options]    (npm run dev must run)

  --url URL            default http://localhost:8787
  --rounds N           visits measured, after one that is not (9)
  --screenshots DIR    writes playground.png, all-exits.png, phone.png, admin.png there
  --help               this text`;

const EASY = "how do you say dog in spanish";
/** What a page may weigh, in bytes of gzip. */
const MAX_PAGE_BYTES = 150_000;

const { values } = parseArgs({
  options: {
    url: { type: "string", default: "http://localhost:8787" },
    rounds: { type: "string", default: "9" },
    screenshots: { type: "string" },
    help: { type: "boolean", default: false },
  },
});

/** Everything that a page loads, by size. */
async function weigh(browser: Browser, path: string) {
  const page = await browser.newPage();
  const bodies: Promise<Buffer>[] = [];
  page.on("response", (response) => {
    if (!/\/(v1|healthz)/.test(response.url())) bodies.push(response.body());
  });
  await page.goto(values.url + path, { waitUntil: "networkidle" });
  const loaded = await Promise.all(bodies);
  await page.close();
  const sum = (size: (body: Buffer) => number): number => loaded.reduce((total, body) => total + size(body), 0);
  return {
    files: loaded.length,
    bytes: sum((body) => body.length),
    gzip: sum((body) => gzipSync(body).length),
    brotli: sum((body) => brotliCompressSync(body).length),
  };
}

/** Milliseconds of one first visit: to the first paint, from a key to the screen, and from a click to the first token. */
async function visit(browser: Browser) {
  const page = await browser.newPage();
  await page.goto(values.url);
  await page.getByText("key for visitors").waitFor();
  const paint = await page.evaluate<number>(
    "performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? NaN",
  );
  const typing = await page.evaluate<number>(`new Promise((resolve) => {
    const field = document.querySelector("textarea");
    field.value = "x";
    const started = performance.now();
    field.dispatchEvent(new InputEvent("input", { bubbles: true }));
    requestAnimationFrame(() => setTimeout(() => resolve(performance.now() - started)));
  })`);
  const clicked = performance.now();
  await page.getByLabel("Prompt").fill(EASY);
  await page.keyboard.press("Enter");
  await page.locator(".answer .token").first().waitFor();
  const token = performance.now() - clicked;
  await page.close();
  return { paint, typing, token };
}

async function takePictures(browser: Browser, folder: string): Promise<void> {
  const page = await browser.newPage({ viewport: { width: 1200, height: 760 } });
  const answer = async (prompt: string, answers: number): Promise<void> => {
    await page.getByLabel("Prompt").fill(prompt);
    await page.keyboard.press("Enter");
    await page
      .locator(".answer.state-done")
      .nth(answers - 1)
      .waitFor();
  };
  await page.goto(values.url);
  await page.getByText("key for visitors").waitFor();
  await answer(EASY, 1);
  await answer(ESCALATED_PROMPT, 2);
  await page.screenshot({ path: join(folder, "playground.png") });
  await page.getByRole("button", { name: "New" }).click();
  await page.getByLabel("All exits at once").check();
  await answer(ESCALATED_PROMPT, 4);
  await page.screenshot({ path: join(folder, "all-exits.png") });
  await page.setViewportSize({ width: 360, height: 740 });
  await page.emulateMedia({ colorScheme: "dark" });
  await page.screenshot({ path: join(folder, "phone.png") });
  await page.setViewportSize({ width: 1200, height: 900 });
  await page.emulateMedia({ colorScheme: "light" });
  await page.goto(`${values.url}/admin`);
  await page.getByLabel("Admin token").fill(localAdminToken());
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.getByRole("heading", { name: "The last day" }).waitFor();
  await page.screenshot({ path: join(folder, "admin.png") });
  await page.close();
}

async function measure(): Promise<void> {
  const browser = await launchBrowser();
  try {
    const weights = { playground: await weigh(browser, "/"), admin: await weigh(browser, "/admin") };
    console.table(weights);
    await visit(browser);
    const visits = [];
    for (let round = 0; round < Number(values.rounds); round++) visits.push(await visit(browser));
    const medians = {
      first_contentful_paint_ms: Math.round(median(visits.map(({ paint }) => paint))),
      key_to_screen_ms: Math.round(median(visits.map(({ typing }) => typing))),
      question_to_first_token_ms: Math.round(median(visits.map(({ token }) => token))),
    };
    console.table(medians);
    const small = Object.values(weights).every(({ gzip }) => gzip <= MAX_PAGE_BYTES);
    console.log(JSON.stringify({ weights, ...medians, below_150_kb: small }));
    if (values.screenshots !== undefined) await takePictures(browser, values.screenshots);
  } finally {
    await browser.close();
  }
}

if (values.help) console.log(HELP);
else await measure();
