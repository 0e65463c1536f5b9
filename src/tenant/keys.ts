/** API keys: reading one from a request, and comparing it without telling how much of it was right. */

const BEARER = /^Bearer +([\x21-\x7e]+) *$/i;

/** The key in an `Authorization` header; null when there is none. */
export function bearerKey(authorization: string | undefined): string | null {
  return BEARER.exec(authorization ?? "")?.[1] ?? null;
}

/**
 * Whether two keys are the same. Their SHA-256 digests are compared in constant time, so neither the position of the
 * first difference nor the length of the right key shows in the time it takes.
 */
export async function sameKey(presented: string, expected: string): Promise<boolean> {
  const [left, right] = await Promise.all([digest(presented), digest(expected)]);
  let difference = 0;
  for (let at = 0; at < left.length; at++) difference |= (left[at] ?? 0) ^ (right[at] ?? 0);
  return difference === 0;
}

/** `[32]` */
async function digest(text: string): Promise<Uint8Array> {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text)));
}
