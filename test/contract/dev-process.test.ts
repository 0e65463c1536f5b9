/** `npm run dev` as supervisors and scripts run it: it ends when it is told to, and shows nobody its secrets. */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { afterEach, expect, test } from "vitest";
import { freePort } from "../../scripts/dev/free-port.ts";
import { ADMIN_TOKEN } from "./support/server.ts";

const START_TIMEOUT_MS = 60_000;
/** Each server gets 5 s to end by itself. */
const STOP_TIMEOUT_MS = 15_000;
const ENGINE_KEY = "an-engine-key-for-tests-only";

let left: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const clean of left) await clean();
  left = [];
});

/** Starts it. @param before shell words before `exec npm run dev` */
async function startDev(before = ""): Promise<{ child: ChildProcess; port: number; pids: number[] }> {
  const port = await freePort();
  const state = await mkdtemp(join(tmpdir(), "sortie-state-"));
  // Of an exit that the model does not have: the engine is never asked.
  const engine = { exit: 200, url: "http://127.0.0.1:1/v1", model: "view", key: ENGINE_KEY };
  const child = spawn("sh", ["-c", `${before} exec npm run dev -- --state ${state}`], {
    env: { ...process.env, PORT: String(port), ADMIN_TOKEN, OPENAI_EXITS: JSON.stringify([engine]) },
    detached: true,
    stdio: ["ignore", "pipe", "inherit"],
  });
  left.push(async () => {
    for (const pid of [...pids, child.pid ?? 0]) if (isAlive(pid)) process.kill(pid, "SIGKILL");
    await rm(state, { recursive: true, force: true });
  });
  let pids: number[] = [];
  await new Promise<void>((resolve, reject) => {
    const late = setTimeout(() => reject(new Error("npm run dev was not ready in time")), START_TIMEOUT_MS);
    createInterface({ input: child.stdout! }).on("line", (line) => {
      if (line.includes("is ready on")) resolve(clearTimeout(late));
    });
  });
  pids = await descendants(child.pid ?? 0);
  return { child, port, pids };
}

/** Processes that a process started, and those that they did. */
async function descendants(root: number): Promise<number[]> {
  const parents = new Map<number, number>();
  for (const line of execFileSync("ps", ["-A", "-o", "pid=,ppid="]).toString().trim().split("\n")) {
    const [pid = 0, parent = 0] = line.trim().split(/\s+/).map(Number);
    parents.set(pid, parent);
  }
  const of = (parent: number): number[] =>
    [...parents].filter(([, each]) => each === parent).flatMap(([pid]) => [pid, ...of(pid)]);
  return of(root);
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

function isTaken(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1", () => resolve(!socket.destroy().connecting));
    socket.once("error", () => resolve(false));
  });
}

/** SIGINT is ignored by what a script starts in the background. */
test.each([
  ["SIGTERM to npm alone", "", "SIGTERM"],
  ["SIGINT to npm in the background", "trap '' INT;", "SIGINT"],
  ["the death of npm", "", "SIGKILL"],
] as const)("ends after %s, and frees its port", async (_, before, signal) => {
  const { child, port, pids } = await startDev(before);
  expect(pids.length).toBeGreaterThan(3); // dev, origin, wrangler, workerd
  process.kill(child.pid ?? 0, signal);
  await expect.poll(() => pids.filter(isAlive), { timeout: STOP_TIMEOUT_MS }).toEqual([]);
  expect(await isTaken(port)).toBe(false);
});

test("no process shows a secret among its arguments", async () => {
  const { pids } = await startDev();
  const processes = (await readdir("/proc").catch(() => [])).filter((name) => /^\d+$/.test(name));
  if (processes.length === 0) return console.log("skipped: this system has no /proc");
  const lines = await Promise.all(pids.map((pid) => readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "")));
  expect(lines.some((line) => line.includes("wrangler"))).toBe(true);
  for (const line of lines) {
    expect(line).not.toContain(ENGINE_KEY);
    expect(line).not.toContain(ADMIN_TOKEN);
    expect(line).not.toMatch(/[0-9a-f]{64}/); // the origin's secret
  }
});
