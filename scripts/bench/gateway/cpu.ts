/** CPU time of a server, from Linux's /proc: it says what a request costs however busy the machine is. */
import { readdirSync, readFileSync } from "node:fs";

/** Milliseconds of a clock tick: 1 s / USER_HZ, which is 100 on every Linux that Node runs on. */
const TICK_MS = 10;
/** Fields of /proc/PID/stat after the program's name in parentheses, counted from 0. */
const PARENT = 1;
const USER_TICKS = 11;
const SYSTEM_TICKS = 12;

/** Milliseconds that all threads of a process have computed so far; null where that cannot be known. */
export function cpuMilliseconds(pid: number): number | null {
  const fields = stat(pid)?.fields;
  if (fields === undefined) return null;
  return (Number(fields[USER_TICKS]) + Number(fields[SYSTEM_TICKS])) * TICK_MS;
}

/** This process's children that run `program`; none where that cannot be known. */
export function childrenRunning(program: string): readonly number[] {
  try {
    const ids = readdirSync("/proc").filter((name) => /^\d+$/.test(name));
    return ids.map(Number).filter((id) => {
      const { name, fields } = stat(id) ?? {};
      return name === program && Number(fields?.[PARENT]) === process.pid;
    });
  } catch {
    return [];
  }
}

function stat(pid: number): { readonly name: string; readonly fields: readonly string[] } | null {
  try {
    const [, name, rest] = /^\d+ \((.*)\) (.*)$/s.exec(readFileSync(`/proc/${pid}/stat`, "utf8")) ?? [];
    return name === undefined || rest === undefined ? null : { name, fields: rest.split(" ") };
  } catch {
    return null;
  }
}
