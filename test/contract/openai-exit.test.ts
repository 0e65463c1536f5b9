/**
 * An exit served by an OpenAI-compatible engine: the checkpoint's first 9 layers as an ordinary checkpoint (`sortie-view`), behind
 * an engine that knows nothing of exits. By default that is the GPU origin's own `/v1/completions`; SORTIE_OPENAI_EXIT (an entry
 * of OPENAI_EXITS) names another one that serves the view.
 */
import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { z } from "zod";
import { readRows } from "../../scripts/calibrate/rows.ts";
import { CHECKPOINT, OriginUnderTest, PYTHON } from "./origin-harness.ts";
import { DEMO_KEY, type RunningServer, startServer } from "./support/server.ts";

const missing = !existsSync(PYTHON);
if (missing) console.log("skipped: gpu-backend/.venv is not there; `npm test` makes it");

const EXIT = 9;
const KEY = "a-key-of-the-engine";
const ROWS = 12;
const BACKEND = join(import.meta.dirname, "..", "..", "gpu-backend");

interface Engine {
  readonly url: string;
  readonly model: string;
  readonly key: string;
  readonly prompt: "ids" | "text";
  readonly answer: "ids" | "text";
}

const answerSchema = z.object({
  choices: z.array(z.object({ message: z.object({ content: z.string() }), finish_reason: z.string() })),
  usage: z.object({ completion_tokens: z.number() }),
});

describe.skipIf(missing)("an exit of an OpenAI-compatible engine", () => {
  const folder = mkdtempSync(join(tmpdir(), "sortie-view-"));
  let own: OriginUnderTest | null = null;
  let engine: Engine;
  let server: RunningServer;
  beforeAll(async () => {
    const foreign = process.env["SORTIE_OPENAI_EXIT"];
    if (foreign === undefined) {
      const view = ["--checkpoint", CHECKPOINT, "--view", String(EXIT), "--out", join(folder, "view")];
      execFileSync(PYTHON, ["-m", "sortie.view", ...view], { cwd: BACKEND });
      own = await OriginUnderTest.startGpu(["--checkpoint", join(folder, "view")], { ORIGIN_API_KEY: KEY });
      engine = { url: `${own.url}/v1`, model: "view", key: KEY, prompt: "ids", answer: "ids" };
    } else engine = JSON.parse(foreign) as Engine;
    server = await startServer({ OPENAI_EXITS: JSON.stringify([{ exit: EXIT, ...engine }]) });
  });
  afterAll(async () => {
    await server?.stop();
    await own?.stop();
    rmSync(folder, { recursive: true });
  });

  type Messages = readonly { role: string; content: string }[];
  const post = (url: string, key: string, body: object): Promise<Response> =>
    fetch(`${url}/chat/completions`, {
      method: "POST",
      headers: { authorization: `Bearer ${key}`, "content-type": "application/json" },
      body: JSON.stringify(body),
    });
  const ask = (messages: Messages, more: object = {}): Promise<Response> =>
    post(`${server.url}/v1`, DEMO_KEY, {
      model: `tiny:exit-${EXIT}`,
      messages,
      temperature: 0,
      max_tokens: 40,
      ...more,
    });

  it("answers through the Worker as the engine answers itself", async () => {
    for (const row of readRows("models/tiny/test.jsonl").slice(0, ROWS)) {
      const messages = row.prompt;
      const response = await ask(messages);
      expect(response.headers.get("x-sortie-exit")).toBe(String(EXIT));
      expect(response.headers.get("x-sortie-tier")).toBe("origin");
      const got = answerSchema.parse(await response.json());
      const alone = await post(engine.url, engine.key, {
        model: engine.model,
        messages,
        temperature: 0,
        max_tokens: 40,
      });
      const wanted = answerSchema.parse(await alone.json());
      // vLLM keeps the space that stands before an answer's first word; the tokenizer, asked for the answer alone, does not.
      const bare = ({ choices }: z.infer<typeof answerSchema>) =>
        choices.map(({ message, finish_reason }) => [message.content.trimStart(), finish_reason]);
      expect(bare(got)).toEqual(bare(wanted));
      if (own !== null) expect(got.usage.completion_tokens).toBe(wanted.usage.completion_tokens);
    }
  });

  it("leaves the other exits to the origin", async () => {
    const response = await ask([{ role: "user", content: "What is the capital of France?" }], {
      model: "tiny:exit-12",
    });
    expect([response.status, response.headers.get("x-sortie-exit")]).toEqual([200, "12"]);
  });

  it("is unavailable when its engine is gone", async ({ skip }) => {
    if (own === null) return skip("the engine was not started by this suite");
    await own.stop();
    const response = await ask([{ role: "user", content: "What is the capital of France?" }]);
    expect([response.status, response.headers.has("retry-after")]).toEqual([503, true]);
  });
});
