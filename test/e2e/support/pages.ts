/** Pages under test: a browser, and everything on a page that must not happen. */
import { createRequire } from "node:module";
import { readFileSync } from "node:fs";
import type { Browser, Page } from "playwright-core";
import { expect } from "vitest";
import { launchBrowser } from "../../../scripts/browser.ts";

const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
/** One wait of a test: an answer of the deepest exit on a busy machine. */
const WAIT_MS = 30_000;

export interface WatchedPage {
  readonly page: Page;
  /** Fails when the console had an error, or anything was asked of another host. @param allowed console errors that belong to the test */
  readonly verify: (allowed?: RegExp) => void;
}

export interface Pages {
  open(address: string, options?: { readonly width?: number; readonly dark?: boolean }): Promise<WatchedPage>;
  close(): Promise<void>;
}

/** null where none can be started: then these tests are skipped, and say why. */
const browser: Browser | null = await launchBrowser().catch((error: unknown) => {
  console.warn(`No Chromium: the browser tests are skipped. ${String(error)}`);
  return null;
});
export const noBrowser = browser === null;

/** @param url of the server under test: no other host may be asked */
export async function startPages(url: string): Promise<Pages> {
  if (browser === null) throw new Error("no Chromium");
  return {
    async open(address, { width = 1280, dark = false } = {}) {
      const context = await browser.newContext({
        viewport: { width, height: 900 },
        colorScheme: dark ? "dark" : "light",
        locale: "en-GB",
        timezoneId: "UTC",
      });
      const page = await context.newPage();
      page.setDefaultTimeout(WAIT_MS);
      const errors: string[] = [];
      const foreign: string[] = [];
      page.on("console", (line) => {
        if (line.type() === "error") errors.push(`${line.text()} ${line.location().url}`);
      });
      page.on("pageerror", (error) => errors.push(String(error)));
      page.on("request", (request) => {
        const asked = new URL(request.url());
        if (asked.origin !== new URL(url).origin && asked.protocol !== "data:") foreign.push(request.url());
      });
      await page.goto(url + address);
      return {
        page,
        verify(allowed) {
          expect(errors.filter((line) => !allowed?.test(line))).toEqual([]);
          expect(foreign).toEqual([]);
        },
      };
    },
    close: () => browser.close(),
  };
}

interface AxeResult {
  readonly violations: readonly {
    readonly id: string;
    readonly nodes: readonly { readonly html: string; readonly failureSummary?: string }[];
  }[];
}

/** What axe-core finds wrong, in one line each; the page's policy allows no foreign script, so it is evaluated from outside. */
export async function accessibilityFaults(page: Page): Promise<string[]> {
  await page.evaluate(AXE);
  const { violations } = await page.evaluate(() =>
    (globalThis as unknown as { axe: { run(): Promise<AxeResult> } }).axe.run(),
  );
  return violations.flatMap(({ id, nodes }) =>
    nodes.map(({ html, failureSummary }) => `${id}: ${html} ${failureSummary ?? ""}`),
  );
}
