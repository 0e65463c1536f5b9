/** The token with which commands open a deployment's admin API. */
import { randomBytes } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { writeOwned } from "../dev/secret-file.ts";

/** The token of this computer's own runs: made once, and only this user can read it. */
const TOKEN_FILE = ".wrangler/sortie-admin-token";
const TOKEN_BYTES = 24;
const LOCAL_HOSTS: ReadonlySet<string> = new Set(["localhost", "127.0.0.1", "[::1]"]);

/**
 * The environment variable ADMIN_TOKEN; for a deployment on this computer else this computer's own.
 * @throws Error that says what to do
 */
export function adminToken(url: string): string {
  const given = process.env["ADMIN_TOKEN"] ?? "";
  if (given !== "") return given;
  const local = isLocal(url);
  if (local && existsSync(TOKEN_FILE)) return readFileSync(TOKEN_FILE, "utf8").trim();
  const hint = local ? " Or start the deployment with npm run dev, which makes a token of its own." : "";
  throw new Error(`Set the environment variable ADMIN_TOKEN to the admin token of ${url}.${hint}`);
}

/** The environment variable ADMIN_TOKEN, or this computer's own token, made when there is none: for `npm run dev`. */
export function localAdminToken(): string {
  const given = process.env["ADMIN_TOKEN"] ?? "";
  if (given !== "") return given;
  if (!existsSync(TOKEN_FILE)) writeOwned(TOKEN_FILE, `${randomBytes(TOKEN_BYTES).toString("hex")}\n`);
  return readFileSync(TOKEN_FILE, "utf8").trim();
}

function isLocal(url: string): boolean {
  return LOCAL_HOSTS.has(URL.parse(url)?.hostname ?? "");
}
