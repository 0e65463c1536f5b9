/** Child processes of `npm run dev`, each in a group of its own so that none outlives it. */
import { spawn, type ChildProcess } from "node:child_process";
import { createInterface } from "node:readline";

/** Time a child has to end by itself before it is killed. */
const GRACE_MS = 5_000;

export interface Child {
  readonly name: string;
  readonly process: ChildProcess;
  /** Resolves with the exit code; null when a signal ended it. */
  readonly exited: Promise<number | null>;
  /** Resolves with the first output line that matches; rejects when the child ends first. */
  waitForLine(pattern: RegExp): Promise<RegExpExecArray>;
}

const children = new Set<Child>();

/**
 * Starts a program and shows its output, each line behind its name.
 */
export function start(
  name: string,
  command: string,
  args: readonly string[],
  env: NodeJS.ProcessEnv,
  show: (line: string) => boolean,
): Child {
  const child = spawn(command, args, { env, detached: true, stdio: ["ignore", "pipe", "pipe"] });
  const lines: string[] = [];
  const watchers = new Set<(line: string) => void>();
  for (const stream of [child.stdout, child.stderr]) {
    createInterface({ input: stream }).on("line", (line) => {
      lines.push(line);
      if (show(line)) process.stdout.write(`[${name}] ${line}\n`);
      for (const watch of watchers) watch(line);
    });
  }
  const exited = new Promise<number | null>((resolve) => {
    child.once("exit", (code) => resolve(code));
    child.once("error", (error) => {
      lines.push(String(error));
      resolve(1);
    });
  });
  const entry: Child = {
    name,
    process: child,
    exited,
    waitForLine(pattern) {
      return new Promise((resolve, reject) => {
        const check = (line: string): void => {
          const match = pattern.exec(line);
          if (!match) return;
          watchers.delete(check);
          resolve(match);
        };
        watchers.add(check);
        for (const line of lines) check(line);
        void exited.then((code) =>
          reject(new Error(`${name} ended (code ${code}) before it was ready:\n${lines.slice(-30).join("\n")}`)),
        );
      });
    },
  };
  children.add(entry);
  void exited.then(() => children.delete(entry));
  return entry;
}

/** Ends every child's whole group: politely, then for good. */
export async function stopAll(): Promise<void> {
  const all = [...children];
  for (const child of all) signalGroup(child, "SIGTERM");
  const timer = setTimeout(() => {
    for (const child of all) signalGroup(child, "SIGKILL");
  }, GRACE_MS);
  await Promise.all(all.map((child) => child.exited));
  clearTimeout(timer);
}

/** Kills what is left, at once: the last thing a dying parent does. */
export function killAll(): void {
  for (const child of children) signalGroup(child, "SIGKILL");
}

function signalGroup(child: Child, signal: NodeJS.Signals): void {
  if (child.process.pid === undefined) return;
  try {
    process.kill(-child.process.pid, signal);
  } catch {
    // The group has ended already.
  }
}
