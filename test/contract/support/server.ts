/** The whole project as a newcomer starts it: `npm run dev` on a free port, its log at hand. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { freePort } from "../../../scripts/dev/free-port.ts";

/** A cold start makes the bundle, loads both tiers and warms every exit: about 20 s on two busy cores. */
const START_TIMEOUT_MS = 180_000;
/** What `npm run dev` may take to end its servers, each of which gets 5 s. */
const STOP_TIMEOUT_MS = 20_000;
/** A line of the log that is on its way. */
const LOG_TIMEOUT_MS = 10_000;

/** The key of `npm run dev`, as the README names it. */
export const DEMO_KEY = "sk-sortie-demo-local";

/** Its admin token. */
export const ADMIN_TOKEN = "a-token-for-tests-only";

export interface RunningServer {
  /** `http://localhost:PORT` */
  readonly url: string;
  /** Of `npm run dev`. */
  readonly pid: number;
  /**
   * Waits for a line of the Worker's or the origin's log.
   * @throws Error when none matches in time
   */
  logged(event: string, requestId: string): Promise<Record<string, unknown>>;
  /** Every line of both logs so far that is an event. */
  events(): Record<string, unknown>[];
  /** Ends everything that was started. */
  stop(): Promise<void>;
}

/**
 * @param extra environment variables besides this process's own
 * @param options further options of `npm run dev`
 * @throws Error with the output so far when it does not become ready
 */
export async function startServer(
  extra: NodeJS.ProcessEnv = {},
  options: readonly string[] = [],
): Promise<RunningServer> {
  const port = await freePort();
  const state = await mkdtemp(join(tmpdir(), "sortie-state-"));
  const child = spawn("npm", ["run", "dev", "--", "--verbose", "--state", state, ...options], {
    env: { ...process.env, ADMIN_TOKEN, ...extra, PORT: String(port) },
    detached: true, // a group of its own, so that Ctrl-C reaches it and not us
    stdio: ["ignore", "pipe", "pipe"],
  });
  const lines: string[] = [];
  for (const output of [child.stdout, child.stderr]) {
    createInterface({ input: output }).on("line", (line) => lines.push(line));
  }
  const exited = once(child, "exit");
  const url = `http://localhost:${port}`;

  async function stop(): Promise<void> {
    if (child.exitCode === null && child.signalCode === null) {
      signalGroup("SIGINT");
      const timer = setTimeout(() => signalGroup("SIGKILL"), STOP_TIMEOUT_MS);
      await exited;
      clearTimeout(timer);
    }
    await rm(state, { recursive: true, force: true });
  }

  function signalGroup(signal: NodeJS.Signals): void {
    if (child.pid !== undefined) process.kill(-child.pid, signal);
  }

  const events = (): Record<string, unknown>[] => lines.map(jsonOf).filter((event) => event !== undefined);
  const logged = (event: string, requestId: string): Promise<Record<string, unknown>> =>
    until(LOG_TIMEOUT_MS, `no ${event} of ${requestId} in the log`, () =>
      lines.map(jsonOf).find((entry) => entry?.["event"] === event && entry["request_id"] === requestId),
    );

  try {
    await until(START_TIMEOUT_MS, "npm run dev did not become ready", () => {
      if (child.exitCode !== null) throw new Error(`npm run dev ended with code ${child.exitCode}`);
      return lines.find((line) => line.includes(`ready on ${url}`));
    });
  } catch (cause) {
    await stop();
    throw new Error(`${String(cause)}\n${lines.slice(-40).join("\n")}`, { cause });
  }
  return { url, pid: child.pid ?? 0, logged, events, stop };
}

/** Polls until there is a value. @throws Error with `complaint` when there is none in time */
export async function until<T>(milliseconds: number, complaint: string, find: () => T | undefined): Promise<T> {
  for (const deadline = Date.now() + milliseconds; Date.now() < deadline;) {
    const found = find();
    if (found !== undefined) return found;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(complaint);
}

/** The JSON in a line such as `[worker] {"event": …}`, if it holds any. */
function jsonOf(line: string): Record<string, unknown> | undefined {
  const start = line.indexOf("{");
  if (start === -1) return undefined;
  try {
    return JSON.parse(line.slice(start)) as Record<string, unknown>;
  } catch {
    return undefined;
  }
}
