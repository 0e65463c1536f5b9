/** What is installed is what was reviewed: every package of a lockfile has a digest, and none names a registry. */
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";

interface Lockfile {
  readonly packages: Readonly<Record<string, { readonly integrity?: string; readonly link?: boolean }>>;
}

test("every npm package has its digest (npm audit signatures asks the registry for more)", () => {
  const { packages } = JSON.parse(readFileSync("package-lock.json", "utf8")) as Lockfile;
  const installed = Object.entries(packages).filter(([path, { link }]) => path !== "" && link !== true);
  expect(installed.length).toBeGreaterThan(100);
  for (const [path, { integrity }] of installed)
    expect([path, integrity]).toEqual([path, expect.stringMatching(/^sha512-/)]);
});

test("every Python package has its digests", () => {
  const text = readFileSync("gpu-backend/requirements.txt", "utf8").replaceAll("\\\n", " ");
  const packages = text.split("\n").filter((line) => /^[A-Za-z0-9]/.test(line));
  expect(packages.length).toBeGreaterThan(10);
  for (const line of packages) expect(line).toMatch(/^\S+==\S+.* --hash=sha256:[0-9a-f]{64}/);
});

test.each(["package-lock.json", "gpu-backend/requirements.txt", "gpu-backend/requirements-ray.txt"])(
  "%s names no registry",
  (file) =>
    expect(readFileSync(file, "utf8")).not.toMatch(
      /"resolved"|--index-url|--extra-index-url|https?:\/\/[^\s"]*(?:registry|pypi|simple)/,
    ),
);
