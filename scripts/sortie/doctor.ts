/** `npx sortie doctor`: what may be wrong with this computer, the bundle, the Worker and the origin, and what to do. */
import { createHash } from "node:crypto";
import { readFileSync, statSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { parseArgs, styleText } from "node:util";
import { bundleSchema } from "../../src/model/bundle.ts";
import { createOriginClient } from "../../src/origin/client.ts";
import { REPLAY_WINDOW_MS } from "../../src/origin/signing.ts";
import { configuredCheckpoint, deploymentFault } from "../build/configured.ts";
import { bundleFiles } from "../export/bundle.ts";

const HELP = `npx sortie doctor [options]

  --bundle DIR    default build/bundle
  --url URL       the Worker; default http://localhost:8787
  --env NAME      also whether bundle and Worker are of the checkpoint that wrangler.toml names for this environment
  --origin URL    the origin; its secret is read from ORIGIN_SECRET
  --help          this text

Ends with 1 when something is wrong.`;

/** wrangler's and vitest's least. */
const MIN_NODE = [22, 12] as const;
/** Ports of \`npm run dev\` and of an origin by itself. */
const PORTS = [8787, 8788];
/** Seconds by which clocks may differ: half of what signed requests allow. */
const MAX_SKEW_SECONDS = REPLAY_WINDOW_MS / 2_000;
const TIMEOUT_MS = 5_000;

interface Finding {
  readonly name: string;
  readonly state: "ok" | "note" | "wrong";
  readonly told: string;
}

const ok = (name: string, told: string): Finding => ({ name, state: "ok", told });
const note = (name: string, told: string): Finding => ({ name, state: "note", told });
const wrong = (name: string, told: string): Finding => ({ name, state: "wrong", told });

const { values } = parseArgs({
  options: {
    bundle: { type: "string", default: "build/bundle" },
    url: { type: "string", default: "http://localhost:8787" },
    env: { type: "string" },
    origin: { type: "string" },
    help: { type: "boolean", default: false },
  },
});

function node(): Finding {
  const [major = 0, minor = 0] = process.versions.node.split(".").map(Number);
  const fits = major > MIN_NODE[0] || (major === MIN_NODE[0] && minor >= MIN_NODE[1]);
  const told = `${process.versions.node} (at least ${MIN_NODE.join(".")})`;
  return fits ? ok("Node", told) : wrong("Node", `${told}: npm scripts bring their own, run \`npm ci\``);
}

async function port(number: number): Promise<Finding> {
  const free = await new Promise<boolean>((resolve) => {
    const server = createServer();
    server.once("error", () => resolve(false));
    server.listen(number, "127.0.0.1", () => server.close(() => resolve(true)));
  });
  return free
    ? ok(`port ${number}`, "free")
    : note(`port ${number}`, "in use: a server that runs already, or PORT=… chooses another");
}

function bundle(): Finding {
  const name = `bundle ${values.bundle}`;
  try {
    const manifest = bundleSchema.parse(JSON.parse(readFileSync(join(values.bundle, "bundle.json"), "utf8")));
    const broken = bundleFiles(manifest).filter(({ path, bytes, sha256 }) => {
      const file = join(values.bundle, path);
      if (statSync(file, { throwIfNoEntry: false })?.size !== bytes) return true;
      return createHash("sha256").update(readFileSync(file)).digest("hex") !== sha256;
    });
    if (broken.length > 0)
      return wrong(
        name,
        `not as its manifest says: ${broken.map(({ path }) => path).join(", ")}; run \`npm run build -- --force\``,
      );
    const foreign = foreignTo(manifest.fingerprint);
    if (foreign !== null) return wrong(name, foreign);
    return ok(name, `${manifest.name} ${manifest.fingerprint}, exits ${manifest.exits.join(", ")}, all digests right`);
  } catch (error) {
    return wrong(
      name,
      `${error instanceof Error ? error.message.split("\n")[0] : String(error)}; run \`npm run build\``,
    );
  }
}

/** Why a fingerprint is not the one that the environment deploys; null: it is, or none was named. */
function foreignTo(fingerprint: string): string | null {
  if (values.env === undefined) return null;
  return deploymentFault(values.env, configuredCheckpoint(values.env), "", fingerprint);
}

async function worker(): Promise<Finding[]> {
  const name = `Worker ${values.url}`;
  try {
    const response = await fetch(`${values.url}/healthz`, { signal: AbortSignal.timeout(TIMEOUT_MS) });
    const health = (await response.json()) as { status: string; fingerprint: string; origin: string };
    const foreign = foreignTo(health.fingerprint);
    const reach = health.origin === "reachable" || health.origin === "absent" ? ok : wrong;
    return [
      (response.ok ? ok : wrong)(name, `${health.status}, serves ${health.fingerprint}`),
      ...(foreign === null ? [] : [wrong(`checkpoint of ${values.url}`, foreign)]),
      reach("origin as the Worker sees it", health.origin),
      skew(`clock of ${values.url}`, response.headers.get("date")),
    ];
  } catch (error) {
    return [note(name, `no answer (${String(error)}): \`npm run dev\` starts one`)];
  }
}

async function origin(): Promise<Finding[]> {
  if (values.origin === undefined) return [];
  const name = `origin ${values.origin}`;
  const secret = process.env["ORIGIN_SECRET"] ?? "";
  try {
    const health = await fetch(new URL("/healthz", values.origin), { signal: AbortSignal.timeout(TIMEOUT_MS) });
    const clock = skew(`clock of ${values.origin}`, health.headers.get("date"));
    const info = await createOriginClient({ url: values.origin, secret }).info(AbortSignal.timeout(TIMEOUT_MS));
    return [clock, ok(name, `${info.model} ${info.fingerprint}, ${info.numerics}, exits ${info.exits.join(", ")}`)];
  } catch (error) {
    return [wrong(name, String(error))];
  }
}

/** @param date of a response, whole seconds */
function skew(name: string, date: string | null): Finding {
  if (date === null) return note(name, "it does not say the time");
  const seconds = Math.round((Date.parse(date) - Date.now()) / 1000);
  const told = `${seconds} s from this computer's`;
  return Math.abs(seconds) > MAX_SKEW_SECONDS
    ? wrong(name, `${told}: signed requests will be refused`)
    : ok(name, told);
}

const MARKS = { ok: styleText("green", "ok   "), note: styleText("yellow", "note "), wrong: styleText("red", "WRONG") };

if (values.help) console.log(HELP);
else {
  const findings = [
    node(),
    bundle(),
    ...(await Promise.all(PORTS.map(port))),
    ...(await worker()),
    ...(await origin()),
  ];
  for (const { name, state, told } of findings) console.log(`${MARKS[state]} ${name}: ${told}`);
  if (findings.some(({ state }) => state === "wrong")) process.exitCode = 1;
}
