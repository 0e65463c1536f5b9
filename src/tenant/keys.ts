/** API keys `sk-sortie-<tenant>-<secret>`: read, made, and compared without telling how much of one was right. */
import { toHex } from "../bytes.ts";
import { TENANT_NAME } from "./policy.ts";

const PREFIX = "sk-sortie-";
/** Characters of a key that are looked at: the longest tenant's name and secret are far shorter. */
const MAX_KEY_CHARS = 256;
/** Bits of a made secret: beyond any guessing. */
const SECRET_BYTES = 24;

export interface ApiKey {
  readonly tenant: string;
  /** Without a hyphen: the last one ends the tenant's name. */
  readonly secret: string;
}

/** Reads a key; null when it cannot be one. */
export function parseKey(text: string): ApiKey | null {
  if (!text.startsWith(PREFIX) || text.length > MAX_KEY_CHARS) return null;
  const rest = text.slice(PREFIX.length);
  const at = rest.lastIndexOf("-");
  const tenant = rest.slice(0, Math.max(at, 0));
  const secret = rest.slice(at + 1);
  return TENANT_NAME.test(tenant) && secret !== "" ? { tenant, secret } : null;
}

export function formatKey({ tenant, secret }: ApiKey): string {
  return `${PREFIX}${tenant}-${secret}`;
}

/** A new secret, in hexadecimal. */
export function newSecret(): string {
  return toHex(crypto.getRandomValues(new Uint8Array(SECRET_BYTES)));
}

/** SHA-256 in hexadecimal: what is stored and sent instead of a secret. */
export async function sha256(secret: string): Promise<string> {
  return toHex(new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(secret))));
}
