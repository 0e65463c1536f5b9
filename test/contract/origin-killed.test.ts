/** kill -9 of the GPU origin in mid-stream, behind the Worker: an error in OpenAI's form, the money settled, and service goes on. */
import { existsSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { readRows } from "../../scripts/calibrate/rows.ts";
import { usageBodySchema } from "../../src/api/usage-schemas.ts";
import { OriginUnderTest, PYTHON } from "./origin-harness.ts";
import { DEMO_KEY, type RunningServer, startServer } from "./support/server.ts";

const missing = !existsSync(PYTHON);
if (missing) console.log("skipped: gpu-backend/.venv is not there; `npm test` makes it");

/** Hot, and the end token penalised away: an answer that lasts. */
const RAMBLE = { temperature: 2, repetition_penalty: 10, max_tokens: 900, seed: 3, stream: true };
/** Bytes of the stream to read before the origin is killed: some tokens. */
const READ_BYTES = 4_000;

describe.skipIf(missing)("an origin that is killed in mid-stream", () => {
  let origin: OriginUnderTest;
  let server: RunningServer;
  beforeAll(async () => {
    origin = await OriginUnderTest.startGpu();
    server = await startServer({ ORIGIN_SECRET: origin.secret }, ["--origin", origin.url]);
  });
  afterAll(async () => {
    await server?.stop();
    await origin?.stop();
  });

  const headers = { authorization: `Bearer ${DEMO_KEY}`, "content-type": "application/json" };
  const ask = (model: string, more: object = {}): Promise<Response> =>
    fetch(`${server.url}/v1/chat/completions`, {
      method: "POST",
      headers,
      body: JSON.stringify({ model, messages: [{ role: "user", content: "What is the capital of France?" }], ...more }),
    });
  async function usage() {
    const body = usageBodySchema.parse(await (await fetch(`${server.url}/v1/usage`, { headers })).json());
    const held = body.budgets.reduce((sum, { held_usd }) => sum + Number(held_usd), 0);
    const tokens = body.data
      .filter(({ tier }) => tier === "origin")
      .reduce((sum, { completion_tokens }) => sum + completion_tokens, 0);
    return { held, tokens, spent: Number(body.total_cost_usd) };
  }

  it("ends the stream with an error, settles what was produced, and the next request is answered", async () => {
    expect((await ask("tiny:exit-12", { temperature: 0 })).headers.get("x-sortie-tier")).toBe("origin");
    const hard = await promptOfTheOrigin();
    const before = await usage();
    expect(before.held).toBe(0);

    const response = await ask("tiny:exit-12", RAMBLE);
    expect(response.status).toBe(200);
    const decoder = new TextDecoder();
    let text = "";
    let killed = false;
    for await (const chunk of response.body!) {
      text += decoder.decode(chunk, { stream: true });
      if (killed || text.length < READ_BYTES) continue;
      killed = origin.process!.kill("SIGKILL");
    }
    const events = text.split("\n").filter((line) => line.startsWith("data: "));
    const last = JSON.parse(events.at(-1)!.slice("data: ".length)) as { error: Record<string, unknown> };
    expect(Object.keys(last.error).sort()).toEqual(["code", "message", "param", "type"]);
    expect(last.error["type"]).toBe("server_error");

    const sent = events.filter((line) => line.includes('"content":"') && !line.includes('"content":""')).length;
    let after = await usage();
    for (let tries = 0; after.held > 0 && tries < 50; tries++) {
      await new Promise((resolve) => setTimeout(resolve, 100));
      after = await usage();
    }
    expect(after.held).toBe(0);
    const charged = after.tokens - before.tokens;
    console.log(`killed after ${sent} pieces of text; ${charged} tokens were charged`);
    expect(sent).toBeGreaterThan(0);
    expect(charged).toBeGreaterThanOrEqual(sent);
    expect(charged).toBeLessThan(RAMBLE.max_tokens);
    expect(after.spent).toBeGreaterThan(before.spent);

    const easy = await ask("tiny:exit-6", { temperature: 0 });
    expect([easy.status, easy.headers.get("x-sortie-tier")]).toEqual([200, "edge"]);
    // Sampled without a seed: no answer of before is told again.
    const fixed = await ask("tiny:exit-12", { temperature: 1 });
    expect([fixed.status, fixed.headers.has("retry-after")]).toEqual([503, true]);
    expect(Object.keys(((await fixed.json()) as { error: object }).error).sort()).toEqual([
      "code",
      "message",
      "param",
      "type",
    ]);
    const degraded = await ask("tiny", { ...hard, temperature: 1 });
    expect(degraded.status).toBe(200);
    expect(degraded.headers.get("x-sortie-route")).toContain("degraded");
  });

  /** The first row of the test set that the router sends to the origin. */
  async function promptOfTheOrigin() {
    for (const { prompt } of readRows("models/tiny/test.jsonl")) {
      const asked = { temperature: 0, messages: prompt };
      const response = await ask("tiny", asked);
      await response.text();
      if (response.headers.get("x-sortie-tier") === "origin") return asked;
    }
    throw new Error("the router sends nothing to the origin");
  }
});
