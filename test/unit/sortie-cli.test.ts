import { spawnSync } from "node:child_process";
import { cpSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";

/** Addresses where nothing listens. */
const NOWHERE = "http://127.0.0.1:9";
let folder: string;
beforeAll(() => void (folder = mkdtempSync(join(tmpdir(), "sortie-cli-"))));
afterAll(() => rmSync(folder, { recursive: true }));

function sortie(...args: string[]) {
  const { status, stdout, stderr } = spawnSync(process.execPath, ["scripts/sortie.ts", ...args], { encoding: "utf8" });
  return { status, text: stdout + stderr };
}

test("--help names every command, and each has a help of its own", () => {
  const { status, text } = sortie("--help");
  expect(status).toBe(0);
  for (const name of ["export", "calibrate", "tenants", "chat", "doctor", "cost", "bench edge"])
    expect(text).toContain(name);
  for (const name of ["chat", "doctor", "cost"]) expect(sortie(name, "--help")).toMatchObject({ status: 0 });
});

test("an unknown command is named, with the help", () => {
  expect(sortie("frobnicate")).toMatchObject({ status: 2, text: expect.stringContaining('no command "frobnicate"') });
});

test("the doctor says what is wrong with a bundle, and ends with 1", () => {
  const missing = sortie("doctor", "--bundle", join(folder, "none"), "--url", NOWHERE);
  expect(missing).toMatchObject({ status: 1, text: expect.stringMatching(/WRONG.* bundle .*npm run build/) });
  cpSync("models/tiny/config.json", join(folder, "bundle.json"));
  expect(sortie("doctor", "--bundle", folder, "--url", NOWHERE).status).toBe(1);
  writeFileSync(join(folder, "bundle.json"), "{");
  expect(sortie("doctor", "--bundle", folder, "--url", NOWHERE).status).toBe(1);
});

test("a cost that cannot be is refused by name", () => {
  expect(sortie("cost", "--edge-share", "1.5")).toMatchObject({
    status: 2,
    text: expect.stringContaining("--edge-share"),
  });
});

test("chat tells a server that is not there, without a stack trace", () => {
  const { status, text } = sortie("chat", "--url", NOWHERE, "Hello");
  expect(status).toBe(1);
  expect(text).toContain("The server cannot be reached.");
  expect(text).not.toContain("    at ");
});
