import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { declaredChanges, findKey, type StoredKey } from "../../src/tenant/key-store.ts";
import { bearerKey, sameDigest } from "../../src/bearer.ts";
import { formatKey, newSecret, parseKey, sha256 } from "../../src/tenant/keys.ts";
import { MAX_KEYS, NO_KEY_LIMITS } from "../../src/tenant/policy.ts";

const NOW = 1_000_000;
const stored = (id: string, secretSha256: string, change: Partial<StoredKey> = {}): StoredKey => ({
  id,
  secretSha256,
  label: "",
  limits: NO_KEY_LIMITS,
  declared: false,
  createdAt: 0,
  expiresAt: null,
  revokedAt: null,
  ...change,
});

describe("keys", () => {
  test.each([
    ["Bearer abc", "abc"],
    ["bearer abc", "abc"],
    ["Bearer", null],
    ["Bearer a b", null],
    ["Basic abc", null],
    [undefined, null],
  ])("%j carries %j", (header, key) => expect(bearerKey(header)).toBe(key));

  test.each([
    ["sk-sortie-acme-s3cret", { tenant: "acme", secret: "s3cret" }],
    ["sk-sortie-acme-eu-1-s3cret", { tenant: "acme-eu-1", secret: "s3cret" }],
    ["sk-sortie-acme", null],
    ["sk-sortie-acme-", null],
    ["sk-sortie--s3cret", null],
    ["sk-sortie-Acme-s3cret", null],
    ["sk-other-acme-s3cret", null],
    [`sk-sortie-acme-${"x".repeat(300)}`, null],
  ])("%s reads as %j", (text, key) => expect(parseKey(text)).toEqual(key));

  test("what is made can be read, and is never made twice", () => {
    const made = { tenant: "acme-eu", secret: newSecret() };
    expect(parseKey(formatKey(made))).toEqual(made);
    expect(newSecret()).not.toBe(made.secret);
    expect(made.secret).toMatch(/^[0-9a-f]{48}$/);
  });

  test("any text is read or refused, never thrown at", () => {
    fc.assert(fc.property(fc.string(), (text) => parseKey(`sk-sortie-${text}`) !== undefined));
  });

  test("only the same digest is the same", async () => {
    const digest = await sha256("abc");
    expect(sameDigest(digest, await sha256("abc"))).toBe(true);
    for (const other of [await sha256("abd"), "", digest.slice(1), `${digest}0`]) {
      expect(sameDigest(digest, other)).toBe(false);
    }
  });
});

describe("finding a key", () => {
  const keys = [
    stored("open", "aa"),
    stored("gone", "bb", { revokedAt: 1 }),
    stored("over", "cc", { expiresAt: NOW }),
    stored("still", "dd", { expiresAt: NOW + 1 }),
  ];
  test.each([
    ["aa", "open"],
    ["bb", undefined],
    ["cc", undefined],
    ["dd", "still"],
    ["ee", undefined],
  ])("%s opens %s", (digest, id) => expect(findKey(keys, digest, NOW)?.id).toBe(id));

  test("the last of as many as there may be, past any number of revoked ones", () => {
    const many = Array.from({ length: 3 * MAX_KEYS }, (_, at) => stored(`${at}`, `r${at}`, { revokedAt: 1 }));
    const valid = Array.from({ length: MAX_KEYS }, (_, at) => stored(`v${at}`, `v${at}`));
    expect(findKey([...many, ...valid], `v${MAX_KEYS - 1}`, NOW)?.id).toBe(`v${MAX_KEYS - 1}`);
  });

  test("no key has the digest that fills the empty places", () => {
    expect(findKey([], "0".repeat(64), NOW)).toBeNull();
  });
});

describe("declared keys", () => {
  const declared = { secretSha256: "aa", label: "web", limits: NO_KEY_LIMITS, expiresAt: null };

  test("new ones are added once", () => {
    const first = declaredChanges([], [declared], NOW);
    expect(first).toMatchObject([{ secretSha256: "aa", label: "web", declared: true, createdAt: NOW }]);
    expect(declaredChanges(first, [declared], NOW + 1)).toEqual([]);
  });

  test("what changed is written, what left is revoked, what `key create` made is left alone", () => {
    const keys = [
      stored("a", "aa", { declared: true, label: "old" }),
      stored("b", "bb", { declared: true }),
      stored("c", "cc"),
    ];
    expect(declaredChanges(keys, [declared], NOW)).toEqual([
      { ...keys[0], label: "web" },
      { ...keys[1], revokedAt: NOW },
    ]);
  });

  test("a revoked key does not come back", () => {
    const revoked = stored("a", "aa", { declared: true, label: "web", revokedAt: 5 });
    expect(declaredChanges([revoked], [declared], NOW)).toEqual([]);
  });
});
