/** A real Chromium: the system's where there is one, otherwise the one that the npm package carries. */
import { existsSync } from "node:fs";
import packaged from "@sparticuz/chromium";
import { chromium, type Browser } from "playwright-core";

/** Where systems have it; CHROMIUM names another. */
const SYSTEM = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];
/** Containers run tests as root and have a small /dev/shm. */
const CONTAINER = ["--no-sandbox", "--disable-dev-shm-usage"];
/** What the packaged build needs besides: it has neither helper processes' binary nor a GPU. */
const PACKAGED = ["--headless=shell", "--no-zygote", "--in-process-gpu"];

/** @throws Error saying what was tried, on a platform that the packaged build does not fit */
export async function launchBrowser(): Promise<Browser> {
  const own = [process.env["CHROMIUM"] ?? "", ...SYSTEM].find((path) => path !== "" && existsSync(path));
  if (own !== undefined) return chromium.launch({ executablePath: own, args: CONTAINER });
  return chromium.launch({ executablePath: await packaged.executablePath(), args: [...CONTAINER, ...PACKAGED] });
}
