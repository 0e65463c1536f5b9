/**
 * Signed requests: HMAC-SHA-256 with a shared secret, by WebCrypto, so that it runs in workerd and Node alike.
 *
 *   x-sortie-timestamp       milliseconds since 1970, decimal
 *   x-sortie-nonce           128 random bits, lower-case hex, never used twice
 *   x-sortie-content-sha256  SHA-256 of the body (of nothing for GET), lower-case hex
 *   x-sortie-boot            the start of the origin that is meant, as it names itself; empty while it is not known
 *   x-sortie-signature       HMAC over the lines `sortie-origin/1`, method, path with query, timestamp, nonce, digest, boot
 *                            joined by "\n"; lower-case hex
 *
 * An origin remembers nonces in memory. A signature therefore names the start that remembers: after a restart, or at
 * another replica, it is refused with that one's own name (`signature_boot_mismatch`), and the client signs anew.
 *
 * The digest is a header so that a receiver can refuse before it reads the body; it then compares it with the body.
 */
import { fromHex, sha256, toHex } from "../bytes.ts";
import { ORIGIN_PROTOCOL, type RefusalCode } from "./protocol.ts";

export const TIMESTAMP_HEADER = "x-sortie-timestamp";
export const NONCE_HEADER = "x-sortie-nonce";
export const DIGEST_HEADER = "x-sortie-content-sha256";
export const SIGNATURE_HEADER = "x-sortie-signature";
/** Of a request: the start that it is for. Of a refusal: the start that refuses. */
export const BOOT_HEADER = "x-sortie-boot";

/** Milliseconds a signature is good for, either way: clock skew and a slow upload. */
export const REPLAY_WINDOW_MS = 60_000;
/** Nonces remembered: about 800 requests a second over both halves of the window, some 15 MB. */
export const MAX_NONCES = 100_000;
/** Bytes of a nonce: 128 bits never collide. */
const NONCE_BYTES = 16;
const HEX = { nonce: /^[0-9a-f]{32}$/, digest: /^[0-9a-f]{64}$/ };
/** What an origin may call its start. */
export const BOOT = /^[0-9a-f]{32}$/;
const TIMESTAMP = /^[0-9]{1,15}$/;

/** @returns the key of `signRequest` and `verifySignature`. @throws {TypeError} when the secret is empty. */
export function importSecret(secret: string): Promise<CryptoKey> {
  if (secret === "") throw new TypeError("the origin's secret is empty");
  const algorithm = { name: "HMAC", hash: "SHA-256" };
  return crypto.subtle.importKey("raw", utf8(secret), algorithm, false, ["sign", "verify"]);
}

/** @returns the five headers of a request. `path` is the URL's path and query. @param boot empty: not known yet */
export async function signRequest(
  key: CryptoKey,
  method: string,
  path: string,
  body: Uint8Array<ArrayBuffer>,
  boot: string,
): Promise<Record<string, string>> {
  const timestamp = String(Date.now());
  const nonce = toHex(crypto.getRandomValues(new Uint8Array(NONCE_BYTES)));
  const digest = await bodyDigest(body);
  const signature = await crypto.subtle.sign("HMAC", key, signedText(method, path, timestamp, nonce, digest, boot));
  return {
    [TIMESTAMP_HEADER]: timestamp,
    [NONCE_HEADER]: nonce,
    [DIGEST_HEADER]: digest,
    [BOOT_HEADER]: boot,
    [SIGNATURE_HEADER]: toHex(new Uint8Array(signature)),
  };
}

/**
 * The signature of an answer whose body must be believed: HMAC over the lines `sortie-origin/1`, `200`, the request's
 * nonce, the body's digest.
 */
export async function signAnswer(key: CryptoKey, nonce: string, digest: string): Promise<string> {
  return toHex(new Uint8Array(await crypto.subtle.sign("HMAC", key, answerText(nonce, digest))));
}

/** Whether an answer is the one that was signed for this request. */
export async function verifyAnswer(
  key: CryptoKey,
  nonce: string,
  headers: Headers,
  body: Uint8Array<ArrayBuffer>,
): Promise<boolean> {
  const [digest, signature] = [headers.get(DIGEST_HEADER), headers.get(SIGNATURE_HEADER)];
  if (digest === null || signature === null || !HEX.digest.test(signature)) return false;
  if ((await bodyDigest(body)) !== digest) return false;
  return crypto.subtle.verify("HMAC", key, fromHex(signature), answerText(nonce, digest));
}

const answerText = (nonce: string, digest: string): Uint8Array<ArrayBuffer> =>
  utf8([ORIGIN_PROTOCOL, "200", nonce, digest].join("\n"));

/** SHA-256 of a body, lower-case hex. */
export async function bodyDigest(body: Uint8Array<ArrayBuffer>): Promise<string> {
  return toHex(await sha256(body));
}

/** The nonces seen since a start, inside the window. Full means refused: forgetting one would let it be replayed. */
export class NonceStore {
  /** Names this start: signatures are for one that remembers. */
  readonly boot: string;
  /** Nonce → millisecond after which its timestamp is stale anyway. */
  readonly #expiry = new Map<string, number>();
  readonly #capacity: number;

  constructor(capacity = MAX_NONCES, boot = toHex(crypto.getRandomValues(new Uint8Array(NONCE_BYTES)))) {
    this.boot = boot;
    this.#capacity = capacity;
  }

  /** @returns whether the nonce is new, and remembered now; `full` when there is no room. */
  add(nonce: string, expiresAt: number, now: number): "added" | "seen" | "full" {
    if (this.#expiry.has(nonce)) return "seen";
    for (const [old, expiry] of this.#expiry) {
      if (expiry >= now) break;
      this.#expiry.delete(old);
    }
    if (this.#expiry.size >= this.#capacity) return "full";
    this.#expiry.set(nonce, expiresAt);
    return "added";
  }
}

export type SignatureVerdict =
  | { readonly ok: true; /** The digest the body must have. */ readonly digest: string }
  | {
      readonly ok: false;
      readonly code: Extract<RefusalCode, `signature_${string}` | "origin_overloaded">;
    };

/**
 * Checks headers; the comparison is WebCrypto's, in constant time. A nonce is remembered only once the signature
 * holds, so strangers cannot fill the store. The caller compares `digest` with the body.
 * @param now milliseconds since 1970
 */
export async function verifySignature(
  key: CryptoKey,
  request: { readonly method: string; readonly path: string; readonly headers: Headers },
  nonces: NonceStore,
  now: number,
): Promise<SignatureVerdict> {
  const timestamp = request.headers.get(TIMESTAMP_HEADER);
  const nonce = request.headers.get(NONCE_HEADER);
  const digest = request.headers.get(DIGEST_HEADER);
  const boot = request.headers.get(BOOT_HEADER);
  const signature = request.headers.get(SIGNATURE_HEADER);
  if (timestamp === null || nonce === null || digest === null || boot === null || signature === null) {
    return { ok: false, code: "signature_missing" };
  }
  const wellFormed = TIMESTAMP.test(timestamp) && HEX.nonce.test(nonce) && HEX.digest.test(digest);
  if (!wellFormed || !HEX.digest.test(signature) || (boot !== "" && !BOOT.test(boot)))
    return { ok: false, code: "signature_invalid" };
  const text = signedText(request.method, request.path, timestamp, nonce, digest, boot);
  if (!(await crypto.subtle.verify("HMAC", key, fromHex(signature), text))) {
    return { ok: false, code: "signature_invalid" };
  }
  const sentAt = Number(timestamp);
  if (Math.abs(now - sentAt) > REPLAY_WINDOW_MS) return { ok: false, code: "signature_stale" };
  if (boot !== nonces.boot) return { ok: false, code: "signature_boot_mismatch" };
  const added = nonces.add(nonce, sentAt + REPLAY_WINDOW_MS, now);
  if (added === "seen") return { ok: false, code: "signature_replayed" };
  if (added === "full") return { ok: false, code: "origin_overloaded" };
  return { ok: true, digest };
}

function signedText(
  method: string,
  path: string,
  timestamp: string,
  nonce: string,
  digest: string,
  boot: string,
): Uint8Array<ArrayBuffer> {
  return utf8([ORIGIN_PROTOCOL, method, path, timestamp, nonce, digest, boot].join("\n"));
}

/** UTF-8 of a text. An encoder never hands out shared memory, though its type cannot say so. */
export const utf8 = (text: string): Uint8Array<ArrayBuffer> =>
  new TextEncoder().encode(text) as Uint8Array<ArrayBuffer>;
