/** Signed requests to an origin, whose start is learnt from its first refusal and remembered. */
import { BOOT, BOOT_HEADER, signRequest } from "./signing.ts";

/** The start that each origin has last named, by its base address: an isolate talks to one or two. */
const boots = new Map<string, string>();

export interface SignedExchange {
  readonly response: Response;
  /** The headers that were signed with. */
  readonly signed: Readonly<Record<string, string>>;
}

/**
 * Signs and sends, and once more when the origin has started anew since it was last heard of.
 * @param base the origin's address
 * @param path with query
 * @param send sends the request with these headers; called once or twice
 */
export async function signedFetch(
  key: CryptoKey,
  base: string,
  method: "GET" | "POST",
  path: string,
  body: Uint8Array<ArrayBuffer>,
  send: (signed: Readonly<Record<string, string>>) => Promise<Response>,
): Promise<SignedExchange> {
  const signed = await signRequest(key, method, path, body, boots.get(base) ?? "");
  const response = await send(signed);
  const boot = response.headers.get(BOOT_HEADER) ?? "";
  if (response.status !== 401 || !BOOT.test(boot) || boot === signed[BOOT_HEADER]) return { response, signed };
  await response.body?.cancel();
  boots.set(base, boot);
  const again = await signRequest(key, method, path, body, boot);
  return { response: await send(again), signed: again };
}
