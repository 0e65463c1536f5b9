/** Variables for a child that nobody else may read: a file of this user's, instead of arguments that every `ps` shows. */
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";

const OWNER_ONLY = 0o600;

/** Writes variables in the form of a .env file. It goes with this process. @returns its path */
export function secretFile(variables: Readonly<Record<string, string>>): string {
  const folder = mkdtempSync(join(tmpdir(), "sortie-dev-"));
  process.once("exit", () => rmSync(folder, { recursive: true, force: true }));
  const path = join(folder, "variables.env");
  const lines = Object.entries(variables).map(([name, value]) => `${name}=${quoted(value)}`);
  writeOwned(path, `${lines.join("\n")}\n`);
  return path;
}

/** Writes a file that only this user can read. */
export function writeOwned(path: string, text: string): void {
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, text, { mode: OWNER_ONLY });
  chmodSync(path, OWNER_ONLY); // one that was there keeps its mode otherwise
}

/** A value as it is: in the first kind of quotes that it does not have itself. @throws Error when it has all */
function quoted(value: string): string {
  const quote = ["'", '"', "`"].find((mark) => !value.includes(mark) && !(mark === '"' && value.includes("\\")));
  if (quote === undefined || value.includes("\n")) throw new Error("a variable's value has all kinds of quotes");
  return quote + value + quote;
}
