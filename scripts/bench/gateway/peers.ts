/** Installs the other gateways when they are first asked for, and starts them. */
import { spawnSync } from "node:child_process";
import { existsSync } from "node:fs";
import type { Peer } from "./peer.ts";
import type { Target } from "./target.ts";
import { freePort } from "../../dev/free-port.ts";

/** LiteLLM imports for half a minute on a busy core. */
const START_TIMEOUT_MS = 180_000;
const POLL_MS = 250;
/** Lines of a failing installer that are shown. */
const SHOWN_LINES = 3;

/**
 * Starts every peer that is installed or can be.
 * @param body a chat completion that each must answer
 * @param missing told of one that cannot be had, and why
 */
export async function startPeers(
  peers: readonly Peer[],
  upstream: string,
  body: string,
  missing: (name: string, why: string) => void,
): Promise<Target[]> {
  const targets: Target[] = [];
  for (const peer of peers) {
    try {
      install(peer);
      const target = { name: peer.name, body, ...peer.launch(upstream, await freePort()) };
      await answers(target);
      targets.push(target);
    } catch (error) {
      missing(peer.name, error instanceof Error ? error.message : String(error));
    }
  }
  return targets;
}

/** @throws Error with the last lines of a command that fails */
function install({ name, program, install: commands }: Peer): void {
  if (existsSync(program)) return;
  process.stderr.write(`installing ${name}\n`);
  for (const [command, ...options] of commands) {
    const ran = spawnSync(command, options, { encoding: "utf8" });
    if (ran.status === 0) continue;
    const said = ran.error?.message ?? ran.stderr.trim().split("\n").slice(-SHOWN_LINES).join(" ");
    throw new Error(`${command} failed: ${said}`);
  }
}

/** Waits for the first answer. @throws Error when none comes in time */
async function answers({ url, headers, body }: Target): Promise<void> {
  let last = "no connection";
  for (const deadline = Date.now() + START_TIMEOUT_MS; Date.now() < deadline;) {
    try {
      const init = { method: "POST", headers: { "content-type": "application/json", ...headers }, body };
      const response = await fetch(url, init);
      const text = await response.text();
      if (response.ok) return;
      last = `${response.status} ${text}`;
    } catch (error) {
      last = String(error);
    }
    await new Promise((resume) => setTimeout(resume, POLL_MS));
  }
  throw new Error(`no answer within ${START_TIMEOUT_MS} ms: ${last}`);
}
