/** Processes that `npm run dev` has started. */
import { execFileSync } from "node:child_process";

const ORIGIN_PROGRAM = "src/origin/server.ts";

/** @param pid of `npm run dev`. @returns the embedded origin's. @throws Error when there is none */
export function originOf(pid: number): number {
  const rows = execFileSync("ps", ["-eo", "pid=,ppid=,args="], { encoding: "utf8" })
    .split("\n")
    .map((line) => /^ *(\d+) +(\d+) (.*)$/.exec(line))
    .flatMap((match) =>
      match === null ? [] : [{ pid: Number(match[1]), parent: Number(match[2]), args: match[3] ?? "" }],
    );
  const family = new Set([pid]);
  for (let size = 0; size !== family.size;) {
    size = family.size;
    for (const row of rows) if (family.has(row.parent)) family.add(row.pid);
  }
  const origin = rows.find((row) => family.has(row.pid) && row.args.includes(ORIGIN_PROGRAM));
  if (origin === undefined) throw new Error(`no ${ORIGIN_PROGRAM} among the children of ${pid}`);
  return origin.pid;
}
