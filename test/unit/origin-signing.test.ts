import { beforeAll, describe, expect, it } from "vitest";
import {
  BOOT_HEADER,
  bodyDigest,
  DIGEST_HEADER,
  importSecret,
  NONCE_HEADER,
  NonceStore,
  REPLAY_WINDOW_MS,
  SIGNATURE_HEADER,
  signRequest,
  TIMESTAMP_HEADER,
  utf8,
  verifySignature,
} from "../../src/origin/signing.ts";

const BODY = utf8('{"a":1}');
const PATH = "/v1/generate?x=1";
const START = "0123456789abcdef".repeat(2);

let key: CryptoKey;
beforeAll(async () => {
  key = await importSecret("a secret of some length");
});

async function signed(change: Record<string, string> = {}): Promise<Headers> {
  return new Headers({ ...(await signRequest(key, "POST", PATH, BODY, START)), ...change });
}

const verdict = (
  headers: Headers,
  now = Date.now(),
  nonces = new NonceStore(undefined, START),
  method = "POST",
  path = PATH,
) => verifySignature(key, { method, path, headers }, nonces, now);

describe("signing", () => {
  it("accepts what it signed, and names the body's digest", async () => {
    expect(await verdict(await signed())).toEqual({ ok: true, digest: await bodyDigest(BODY) });
  });

  it("agrees with a signature made by OpenSSL", async () => {
    // printf 'sortie-origin/1\nPOST\n/v1/generate\n1700000000000\n<nonce>\n<digest>\n<start>' | openssl dgst -sha256 -hmac key
    const headers = new Headers({
      [TIMESTAMP_HEADER]: "1700000000000",
      [NONCE_HEADER]: "00112233445566778899aabbccddeeff",
      [DIGEST_HEADER]: "015abd7f5cc57a2dd94b7590f04ad8084273905ee33ec5cebeae62276a97f862",
      [BOOT_HEADER]: START,
      [SIGNATURE_HEADER]: "9b4983e9737a8fe8d38578ce06d34b61a97efe4012d9310b07f7da25f5ddb375",
    });
    const openssl = { method: "POST", path: "/v1/generate", headers };
    const result = await verifySignature(
      await importSecret("key"),
      openssl,
      new NonceStore(undefined, START),
      1_700_000_000_000,
    );
    expect(result).toEqual({ ok: true, digest: await bodyDigest(BODY) });
  });

  it("refuses a change of anything that is signed", async () => {
    const invalid = { ok: false, code: "signature_invalid" };
    const later = String(Date.now() + 1);
    expect(await verdict(await signed({ [TIMESTAMP_HEADER]: later }))).toEqual(invalid);
    expect(await verdict(await signed({ [NONCE_HEADER]: "0".repeat(32) }))).toEqual(invalid);
    expect(await verdict(await signed({ [DIGEST_HEADER]: "0".repeat(64) }))).toEqual(invalid);
    expect(await verdict(await signed({ [SIGNATURE_HEADER]: "0".repeat(64) }))).toEqual(invalid);
    expect(await verdict(await signed(), Date.now(), new NonceStore(undefined, START), "GET")).toEqual(invalid);
    expect(await verdict(await signed(), Date.now(), new NonceStore(undefined, START), "POST", "/v1/generate")).toEqual(
      invalid,
    );
    const other = await signRequest(await importSecret("another secret"), "POST", PATH, BODY, START);
    expect(await verdict(new Headers(other))).toEqual(invalid);
  });

  it("refuses headers that are missing or misshapen", async () => {
    for (const header of [TIMESTAMP_HEADER, NONCE_HEADER, DIGEST_HEADER, SIGNATURE_HEADER]) {
      const headers = await signed();
      headers.delete(header);
      expect(await verdict(headers)).toEqual({ ok: false, code: "signature_missing" });
      for (const value of ["", "x", "-1", "1e3", "zz".repeat(32), "A".repeat(64), "0".repeat(10_000)]) {
        expect(await verdict(await signed({ [header]: value }))).toEqual({ ok: false, code: "signature_invalid" });
      }
    }
  });

  it("refuses a signature outside the window, and one used before", async () => {
    const headers = await signed();
    const sentAt = Number(headers.get(TIMESTAMP_HEADER));
    const nonces = new NonceStore(undefined, START);
    const at = (now: number) => verdict(headers, now, nonces);
    const stale = { ok: false, code: "signature_stale" };
    expect(await at(sentAt + REPLAY_WINDOW_MS + 1)).toEqual(stale);
    expect(await at(sentAt - REPLAY_WINDOW_MS - 1)).toEqual(stale);
    expect((await at(sentAt - REPLAY_WINDOW_MS)).ok).toBe(true);
    for (const now of [sentAt - REPLAY_WINDOW_MS, sentAt, sentAt + REPLAY_WINDOW_MS]) {
      nonces.add(`another at ${now}`, now, now); // makes the store forget what has expired
      expect(await at(now)).toEqual({ ok: false, code: "signature_replayed" });
    }
  });

  it("remembers a bounded number of nonces and forgets none that could be replayed", async () => {
    const nonces = new NonceStore(2);
    expect(nonces.add("a", 10, 0)).toBe("added");
    expect(nonces.add("b", 20, 0)).toBe("added");
    expect(nonces.add("c", 30, 10)).toBe("full");
    expect(nonces.add("a", 10, 10)).toBe("seen");
    expect(nonces.add("c", 30, 11)).toBe("added");
    const full = new NonceStore(0, START);
    expect(await verdict(await signed(), Date.now(), full)).toEqual({ ok: false, code: "origin_overloaded" });
  });

  it("lets no unsigned request fill the store", async () => {
    const nonces = new NonceStore(1, START);
    expect((await verdict(await signed({ [SIGNATURE_HEADER]: "0".repeat(64) }), Date.now(), nonces)).ok).toBe(false);
    expect((await verdict(await signed(), Date.now(), nonces)).ok).toBe(true);
  });

  it("is for one start: the next one refuses what the last has answered", async () => {
    const headers = await signed();
    expect((await verdict(headers)).ok).toBe(true);
    const restarted = new NonceStore();
    expect(restarted.boot).toMatch(/^[0-9a-f]{32}$/);
    expect(await verdict(headers, Date.now(), restarted)).toEqual({ ok: false, code: "signature_boot_mismatch" });
    const changed = await signed({ [BOOT_HEADER]: restarted.boot });
    expect(await verdict(changed, Date.now(), restarted)).toEqual({ ok: false, code: "signature_invalid" });
  });

  it("takes no empty secret", () => {
    expect(() => importSecret("")).toThrow(TypeError);
  });
});
