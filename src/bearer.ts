/** What an `Authorization` header presents, and comparing it without telling how much of it was right. A leaf. */

const BEARER = /^Bearer +([\x21-\x7e]+) *$/i;

/** The token or key in an `Authorization` header; null when there is none. */
export function bearerKey(authorization: string | undefined): string | null {
  return BEARER.exec(authorization ?? "")?.[1] ?? null;
}

/** Whether two digests of one length are the same, in a time that does not depend on where they differ. */
export function sameDigest(left: string, right: string): boolean {
  let difference = left.length ^ right.length;
  for (let at = 0; at < left.length; at++) difference |= left.charCodeAt(at) ^ right.charCodeAt(at % right.length);
  return difference === 0;
}
