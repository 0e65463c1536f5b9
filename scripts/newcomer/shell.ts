/** A shell that goes through one document: what a block sets, the next one finds. */
import { spawn, type ChildProcess } from "node:child_process";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

export interface Outcome {
  readonly ok: boolean;
  /** What it printed, both streams. */
  readonly output: string;
}

const POLL_MS = 100;
/** A server's patience with its own end, before it is killed. */
const STOP_MS = 15_000;

export class Shell {
  readonly #folder: string;
  readonly #env: NodeJS.ProcessEnv;
  readonly #scratch = mkdtempSync(join(tmpdir(), "newcomer-"));
  #bash: ChildProcess | null = null;
  #output = "";
  /** Process groups of the servers under way. */
  readonly #servers: number[] = [];

  constructor(folder: string, env: NodeJS.ProcessEnv) {
    this.#folder = folder;
    this.#env = env;
  }

  /** Runs a command to its end; any part of it that fails fails it. */
  async run(command: string, timeoutMs: number): Promise<Outcome> {
    const bash = this.#started();
    const end = `end-${randomUUID()}`;
    const from = this.#output.length;
    const script = join(this.#scratch, "command"); // complaints name it: it must not be the mark
    writeFileSync(script, command);
    // Read from a file: programs would share the shell's own input, and change how it is read.
    bash.stdin?.write(`. ${script} < /dev/null\nprintf '%s\\n' ${end}\n`);
    const done = await this.#until(timeoutMs, () => this.#output.includes(end, from) || bash.exitCode !== null);
    const ok = this.#output.includes(end, from);
    const output = this.#output.slice(from).replace(`${end}\n`, "");
    if (!ok) this.#kill();
    return { ok, output: done ? output : `${output}\nit took longer than ${timeoutMs / 60_000} minutes` };
  }

  /** Starts a command that goes on. @param ready tells from what it printed whether it is */
  async serve(command: string, ready: (output: string) => boolean, timeoutMs: number): Promise<Outcome> {
    const log = join(this.#scratch, `server-${this.#servers.length}`);
    const begun = await this.run(`set -m; { ${command}\n} > ${log} 2>&1 & set +m\necho group=$!`, timeoutMs);
    const group = Number(/group=(\d+)/.exec(begun.output)?.[1]);
    this.#servers.push(group);
    let output = "";
    for (const deadline = Date.now() + timeoutMs; Date.now() < deadline;) {
      ({ output } = await this.run(`cat ${log}; kill -0 -${group}`, timeoutMs));
      if (ready(output)) return { ok: true, output };
      if (this.#bash === null) break; // it has ended, and the shell with it
      await new Promise((resolve) => setTimeout(resolve, 10 * POLL_MS));
    }
    return { ok: false, output };
  }

  /** Ends the servers: politely, then for good. */
  async stopServers(): Promise<void> {
    for (const group of this.#servers.splice(0)) {
      signalled(group, "SIGTERM");
      if (!(await this.#until(STOP_MS, () => !signalled(group, 0)))) signalled(group, "SIGKILL");
    }
  }

  async close(): Promise<void> {
    await this.stopServers();
    this.#kill();
    rmSync(this.#scratch, { recursive: true, force: true });
  }

  #started(): ChildProcess {
    if (this.#bash !== null) return this.#bash;
    const bash = spawn("bash", ["-e", "-u", "-o", "pipefail"], { cwd: this.#folder, env: this.#env, detached: true });
    for (const stream of [bash.stdout, bash.stderr]) {
      stream.setEncoding("utf8").on("data", (text: string) => (this.#output += text));
    }
    bash.stdin.on("error", () => undefined); // it has ended; the outcome says so
    void once(bash, "exit").then(() => {
      if (this.#bash === bash) this.#bash = null;
    });
    this.#bash = bash;
    return bash;
  }

  #kill(): void {
    const { pid } = this.#bash ?? {};
    this.#bash = null;
    if (pid !== undefined) signalled(pid, "SIGKILL");
  }

  async #until(milliseconds: number, done: () => boolean): Promise<boolean> {
    for (const deadline = Date.now() + milliseconds; Date.now() < deadline;) {
      if (done()) return true;
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    }
    return done();
  }
}

/** @returns whether the group is there */
function signalled(group: number, signal: NodeJS.Signals | 0): boolean {
  try {
    return process.kill(-group, signal);
  } catch {
    return false;
  }
}
