/**
 * The whole flow inside an isolate's memory: workerd runs with the bounds of production, both tiers answer, the
 * gates choose between them, and a client that goes stops the compute.
 */
import { readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { z } from "zod";
import { check } from "../../scripts/calibrate/checkers.ts";
import { readRows } from "../../scripts/calibrate/rows.ts";
import { routerSchema } from "../../src/policy/router.ts";
import { targetFor } from "../../src/policy/targets.ts";
import { DEMO_KEY, startServer, type RunningServer } from "./support/server.ts";

/** Bounds WebAssembly to 100 MiB and JavaScript to 100 MB, which the platform does and local runs do not. */
const MEMORY_BOUND = "--wasm-max-mem-pages=1600 --max-old-space-size=100";
const CHECKPOINT = "models/tiny";
/** Test rows asked through the router; a share of 160 is known to about ±8 points. */
const ROUTED_ROWS = 160;

let server: RunningServer;
beforeAll(async () => {
  server = await startServer({ MINIFLARE_WORKERD_V8_FLAGS: MEMORY_BOUND });
});
afterAll(async () => {
  await server?.stop();
});

function ask(body: Record<string, unknown>, signal?: AbortSignal): Promise<Response> {
  return fetch(`${server.url}/v1/chat/completions`, {
    method: "POST",
    headers: { authorization: `Bearer ${DEMO_KEY}`, "content-type": "application/json" },
    body: JSON.stringify({ temperature: 0, ...body }),
    ...(signal ? { signal } : {}),
  });
}

const answerSchema = z.object({ choices: z.array(z.object({ message: z.object({ content: z.string() }) })) });

async function answerOf(response: Response): Promise<string> {
  expect(response.status).toBe(200);
  return answerSchema.parse(await response.json()).choices[0]?.message.content ?? "";
}

const healthSchema = z.object({
  edge: z.object({ active: z.number(), waiting: z.number(), decoded_tokens: z.number() }),
});
const edgeState = async () => healthSchema.parse(await (await fetch(`${server.url}/healthz`)).json()).edge;

test("every exit answers from its tier, and says so", async () => {
  for (const [exit, tier] of [
    [3, "edge"],
    [6, "edge"],
    [9, "origin"],
    [12, "origin"],
  ] as const) {
    const response = await ask({
      model: `tiny:exit-${exit}`,
      messages: [{ role: "user", content: "What is the capital of France?" }],
    });
    expect(response.headers.get("x-sortie-exit")).toBe(String(exit));
    expect(response.headers.get("x-sortie-tier")).toBe(tier);
    expect(response.headers.get("x-sortie-route")).toContain("fixed");
    expect(response.headers.get("x-request-id")).toBeTruthy();
    expect(await answerOf(response)).not.toBe("");
  }
});

describe("the router", () => {
  test("sends some prompts each way, as often and as well as the calibration measured", async () => {
    const rows = readRows(`${CHECKPOINT}/test.jsonl`).filter(({ split }) => split === "test_seen");
    const step = Math.floor(rows.length / ROUTED_ROWS);
    const sample = Array.from({ length: ROUTED_ROWS }, (_, i) => rows[i * step]).filter((row) => row !== undefined);
    const {
      cascades,
      default_quality: quality,
      report,
    } = routerSchema.parse(JSON.parse(readFileSync(`${CHECKPOINT}/router.json`, "utf8")));
    const { expected } = targetFor(cascades, [3, 12], quality)!;
    const edgeShare = (expected.exits["3"] ?? 0) + (expected.exits["6"] ?? 0);
    const calibrated = z.object({ right: z.number() }).parse(report["cascade"]);
    let [edge, right, handoffs] = [0, 0, 0];
    for (const row of sample) {
      const response = await ask({ model: "tiny:auto", messages: row.prompt });
      const route = response.headers.get("x-sortie-route") ?? "";
      if (response.headers.get("x-sortie-tier") === "edge") edge += 1;
      else if (route.includes("gate=prefill")) handoffs += 1;
      if (row.checker && check(row.checker, await answerOf(response))) right += 1;
    }
    console.log(
      `routed ${sample.length}: edge ${edge}, handed off ${handoffs}, right ${right}; calibration: ` +
        JSON.stringify(expected),
    );
    const near = (count: number, share: number) => {
      const error = Math.sqrt(Math.max(share * (1 - share), 0.02) / sample.length);
      expect(Math.abs(count / sample.length - share)).toBeLessThan(4 * error);
    };
    expect(edge).toBeGreaterThan(0);
    expect(edge).toBeLessThan(sample.length);
    near(edge, edgeShare);
    near(right, calibrated.right);
  });
});

describe("a client that goes", () => {
  /** Hot, and the end token, which stands in every prompt, penalised away. */
  const ramble = {
    messages: [{ role: "user", content: "Tell me a story." }],
    temperature: 2,
    repetition_penalty: 10,
    max_tokens: 900,
    stream: true,
  };

  test("stops the compute at the edge", async () => {
    for (let seed = 1; seed < 40; seed++) {
      const before = await edgeState();
      const gone = new AbortController();
      const response = await ask({ ...ramble, model: "tiny:exit-6", seed }, gone.signal);
      const reader = response.body!.getReader();
      const first = await reader.read();
      expect(first.done).toBe(false);
      gone.abort();
      const stopped = await settled();
      const computed = stopped.decoded_tokens - before.decoded_tokens;
      await new Promise((resolve) => setTimeout(resolve, 500));
      // Nothing is computed once the stream is cancelled.
      expect((await edgeState()).decoded_tokens).toBe(stopped.decoded_tokens);
      const whole = await lengthOf(seed);
      if (whole < 100) continue; // an answer that ended by itself proves nothing
      console.log(`the client left after its first bytes: ${computed} of ${whole} tokens were computed`);
      expect(computed).toBeLessThan(whole / 2);
      return;
    }
    throw new Error("no seed gave a long answer");
  });

  async function settled() {
    for (const deadline = Date.now() + 10_000; Date.now() < deadline;) {
      const state = await edgeState();
      if (state.active === 0) return state;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
    throw new Error("the edge went on computing");
  }

  async function lengthOf(seed: number): Promise<number> {
    const response = await ask({ ...ramble, model: "tiny:exit-6", seed, stream: false });
    const { usage } = z.object({ usage: z.object({ completion_tokens: z.number() }) }).parse(await response.json());
    return usage.completion_tokens;
  }
});

test("model files are not public", async () => {
  for (const path of ["/bundle.json", "/rim.0.bin", "/tokenizer.json", "/router.json"]) {
    expect((await fetch(`${server.url}${path}`)).status).toBe(404);
  }
});
