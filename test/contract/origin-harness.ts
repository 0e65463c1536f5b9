/**
 * What the conformance suite knows of an origin: an address and a secret. Signs with node:crypto, from the text of the
 * protocol, so that a server and its client cannot agree on a mistake.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { createHash, createHmac, randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { GREEDY, type GenerationRequest, type TokenEvent } from "../../src/generation.ts";

const ROOT = join(import.meta.dirname, "..", "..");
/** Milliseconds a server may take to load and warm up. */
const START_MS = 110_000;
/** Small, so that the suite can fill it. */
const CAPACITY = ["--active", "2", "--queue", "2"];
/** Where the GPU origin's Python is; `npm test` makes it. */
export const PYTHON = join(ROOT, "gpu-backend", ".venv", "bin", "python");

export const BUNDLE = process.env["SORTIE_BUNDLE"] ?? join(ROOT, "build", "bundle");
/** The checkpoint that the bundle was exported from. */
export const CHECKPOINT = process.env["SORTIE_CHECKPOINT"] ?? join(ROOT, "models", "tiny");

export interface OriginKind {
  readonly name: string;
  /** @param env for a server that the suite starts */
  readonly start: (env: NodeJS.ProcessEnv) => Promise<OriginUnderTest>;
}

/**
 * The servers to test: one that runs (SORTIE_ORIGIN_URL, ORIGIN_SECRET, and METRICS_TOKEN the same), or one to be started (SORTIE_ORIGIN_COMMAND:
 * must print `ready on http://…` and read ORIGIN_SECRET), or Sortie's own two.
 */
export function originsUnderTest(): OriginKind[] {
  const running = process.env["SORTIE_ORIGIN_URL"];
  const command = process.env["SORTIE_ORIGIN_COMMAND"];
  if (running !== undefined) {
    const secret = process.env["ORIGIN_SECRET"] ?? "";
    return [{ name: running, start: async () => OriginUnderTest.running(running, secret) }];
  }
  if (command !== undefined)
    return [{ name: command, start: (env) => OriginUnderTest.spawn(command.split(" "), undefined, env) }];
  const embedded = { name: "embedded", start: (env: NodeJS.ProcessEnv) => OriginUnderTest.startEmbedded([], env) };
  if (existsSync(PYTHON)) return [embedded, { name: "gpu", start: (env) => OriginUnderTest.startGpu([], env) }];
  console.log(`the GPU origin is skipped: there is no ${PYTHON}; \`npm test\` makes it`);
  return [embedded];
}

/** One server under test. */
export class OriginUnderTest {
  readonly url: string;
  readonly secret: string;
  /** null when the suite did not start it: then it cannot end it either. */
  readonly process: ChildProcess | null;
  /** The origin's start, as it has named it. */
  boot = "";

  private constructor(url: string, secret: string, process: ChildProcess | null) {
    this.url = url;
    this.secret = secret;
    this.process = process;
  }

  static running(url: string, secret: string): Promise<OriginUnderTest> {
    return new OriginUnderTest(url, secret, null).#ready();
  }

  async #ready(): Promise<this> {
    await this.learnBoot();
    return this;
  }

  /** @param nodeOptions for Node itself */
  static startEmbedded(nodeOptions: readonly string[] = [], more: NodeJS.ProcessEnv = {}): Promise<OriginUnderTest> {
    const server = [join(ROOT, "src/origin/server.ts"), "--bundle", BUNDLE, "--port", "0", ...CAPACITY];
    return OriginUnderTest.spawn([process.execPath, ...nodeOptions, ...server], undefined, more);
  }

  static async spawn(
    [program, ...options]: readonly string[],
    cwd = process.cwd(),
    more: NodeJS.ProcessEnv = {},
  ): Promise<OriginUnderTest> {
    const secret = randomBytes(32).toString("hex");
    const env = { ...process.env, ...more, ORIGIN_SECRET: secret, METRICS_TOKEN: secret };
    const child = spawn(program!, options, { cwd, env, stdio: ["ignore", "pipe", "inherit"] });
    return new OriginUnderTest(await readyUrl(child), secret, child).#ready();
  }

  /** The GPU origin on the CPU, one thread: what stands beside it has the other cores. */
  static startGpu(options: readonly string[] = [], more: NodeJS.ProcessEnv = {}): Promise<OriginUnderTest> {
    const server = ["-m", "sortie.origin", "--checkpoint", CHECKPOINT, "--device", "cpu", "--port", "0"];
    const size = ["--threads", "1", "--cache-mib", "64", ...CAPACITY];
    return OriginUnderTest.spawn([PYTHON, ...server, ...size, ...options], join(ROOT, "gpu-backend"), more);
  }

  async stop(): Promise<void> {
    if (this.process === null || this.process.exitCode !== null || this.process.signalCode !== null) return;
    const exited = new Promise((resolve) => this.process?.once("exit", resolve));
    this.process.kill("SIGKILL");
    await exited;
  }

  /** The start that the origin names to those who do not know it. */
  async learnBoot(): Promise<string> {
    this.boot = "";
    this.boot = (await this.get("/v1/info")).headers.get("x-sortie-boot") ?? "";
    return this.boot;
  }

  /** The five headers of a signature; `change` spoils them. */
  sign(
    method: string,
    path: string,
    body: Uint8Array,
    change: Partial<Record<"secret" | "boot", string>> & { timestamp?: number } = {},
  ) {
    const boot = change.boot ?? this.boot;
    const timestamp = String(change.timestamp ?? Date.now());
    const nonce = randomBytes(16).toString("hex");
    const digest = createHash("sha256").update(body).digest("hex");
    const text = ["sortie-origin/1", method, path, timestamp, nonce, digest, boot].join("\n");
    const signature = createHmac("sha256", change.secret ?? this.secret)
      .update(text)
      .digest("hex");
    return {
      "x-sortie-timestamp": timestamp,
      "x-sortie-nonce": nonce,
      "x-sortie-content-sha256": digest,
      "x-sortie-boot": boot,
      "x-sortie-signature": signature,
    };
  }

  get(path: string): Promise<Response> {
    return fetch(this.url + path, { headers: this.sign("GET", path, new Uint8Array(0)) });
  }

  /** A signed `POST /v1/generate`. */
  post(body: Uint8Array<ArrayBuffer>, contentType = "application/json", signal?: AbortSignal): Promise<Response> {
    const headers = { ...this.sign("POST", "/v1/generate", body), "content-type": contentType };
    return fetch(`${this.url}/v1/generate`, {
      method: "POST",
      headers,
      body,
      ...(signal === undefined ? {} : { signal }),
    });
  }

  /** Sum of a metric over its labels. */
  async metric(name: string): Promise<number> {
    const headers = { authorization: `Bearer ${this.secret}` };
    const text = await (await fetch(`${this.url}/metrics`, { headers })).text();
    const lines = text.split("\n").filter((line) => line.startsWith(`${name} `) || line.startsWith(`${name}{`));
    if (lines.length === 0) throw new Error(`no metric ${name}`);
    return lines.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(" "))), 0);
  }
}

function readyUrl(child: ChildProcess): Promise<string> {
  return new Promise((resolve, reject) => {
    const late = setTimeout(() => reject(new Error("the origin was not ready in time")), START_MS);
    let output = "";
    child.stdout?.on("data", (chunk: Buffer) => {
      output += chunk.toString();
      const match = /ready on (http:\/\/\S+)/.exec(output);
      if (match === null) return;
      clearTimeout(late);
      resolve(match[1]!);
    });
    child.once("exit", (code) => {
      clearTimeout(late);
      reject(new Error(`the origin ended with ${code} before it was ready: ${output}`));
    });
  });
}

/** A greedy request; nothing ends it but `max_tokens`. */
export const greedy = (change: Partial<GenerationRequest>): GenerationRequest => ({
  request_id: "conformance",
  token_ids: [1],
  answer_tokens: 0,
  exit_layer: 1,
  max_tokens: 16,
  sampling: GREEDY,
  top_logprobs: 2,
  stop_token_ids: [],
  ...change,
});

export type Token = Extract<TokenEvent, { type: "token" }>;

export const tokensOf = (events: readonly TokenEvent[]): Token[] => events.filter((event) => event.type === "token");
