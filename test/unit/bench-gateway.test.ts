/** The gateway's benchmark: its load, its null upstream, its verdicts. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createServer, type RequestListener } from "node:http";
import type { AddressInfo } from "node:net";
import { createInterface } from "node:readline";
import { afterEach, describe, expect, it } from "vitest";
import { type Load, percentile, runLoad } from "../../scripts/bench/gateway/load.ts";
import { BARE, LEDGER, SORTIE } from "../../scripts/bench/gateway/summary.ts";
import { subjectName } from "../../scripts/bench/gateway/target.ts";
import { verdicts } from "../../scripts/bench/gateway/verdicts.ts";
import { createOriginClient } from "../../src/origin/client.ts";
import { GREEDY } from "../../src/generation.ts";

const stops: (() => void)[] = [];
afterEach(() => {
  for (const stop of stops.splice(0)) stop();
});

async function serve(listener: RequestListener): Promise<string> {
  const server = createServer(listener).listen(0, "127.0.0.1");
  stops.push(() => server.close());
  await once(server, "listening");
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

const load = (url: string, change: Partial<Load> = {}): Load => ({
  url,
  headers: { "x-key": "k" },
  body: "asked",
  concurrency: 4,
  milliseconds: 50,
  ...change,
});

describe("load", () => {
  it("asks over as many connections as it is told, and keeps them", async () => {
    const sockets = new Set<unknown>();
    const seen: string[] = [];
    const url = await serve((incoming, response) => {
      sockets.add(incoming.socket);
      incoming.on("data", (chunk: Buffer) => seen.push(`${String(incoming.headers["x-key"])} ${chunk.toString()}`));
      incoming.on("end", () => response.end("answer"));
    });
    const { requests, p50_ms, p99_ms, per_s } = await runLoad(load(url));
    expect(sockets.size).toBe(4);
    expect(new Set(seen)).toEqual(new Set(["k asked"]));
    expect(requests).toBe(seen.length);
    expect(p50_ms).toBeGreaterThan(0);
    expect(p99_ms).toBeGreaterThanOrEqual(p50_ms);
    expect(per_s).toBeGreaterThan(0);
  });

  it("does not count refusals as a speed", async () => {
    const url = await serve((incoming, response) =>
      incoming.resume().on("end", () => response.writeHead(429).end("no")),
    );
    await expect(runLoad(load(url))).rejects.toThrow("answered 429: no");
  });

  it("takes percentiles by nearest rank", () => {
    const hundred = Float64Array.from({ length: 100 }, (_, at) => at + 1);
    expect([0.5, 0.99, 1].map((share) => percentile(hundred, share))).toEqual([50, 99, 100]);
    expect(percentile(Float64Array.of(7), 0.5)).toBe(7);
  });
});

it("the null upstream keeps the origin's protocol", async () => {
  const child = spawn(process.execPath, ["scripts/bench/gateway/null-upstream.ts"], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  stops.push(() => child.kill());
  const [line] = (await once(createInterface({ input: child.stdout }), "line")) as [string];
  const client = createOriginClient({ url: line.replace("ready on ", ""), secret: "a secret of some length" });
  const sampling = { ...GREEDY, seed: 1 };
  const request = { request_id: "r", token_ids: [1, 2, 3], answer_tokens: 0, exit_layer: 12, max_tokens: 8, sampling };
  const events = [];
  for await (const event of await client.generate({ ...request, top_logprobs: 0, stop_token_ids: [] }, null)) {
    events.push(event);
  }
  expect(events.map(({ type }) => type)).toEqual(["token", "end"]);
  expect(events[1]).toMatchObject({ usage: { prompt_tokens: 3, completion_tokens_by_exit: { 12: 1 } } });
});

it("holds promises against the rounds", () => {
  const figures = (p50_ms: number, per_s: number) => [{ p50_ms, per_s }];
  const results = new Map(
    [1, 16].flatMap((concurrency) => [
      [subjectName(BARE, concurrency as 1), figures(1, 1000)] as const,
      [subjectName(LEDGER, concurrency as 1), figures(3.5, 399)] as const,
      [subjectName(SORTIE, concurrency as 1), figures(5, 300)] as const,
      [subjectName("rival", concurrency as 1), figures(9, 100)] as const,
    ]),
  );
  expect(verdicts(results, [""], "rival").map(({ measured, met }) => [measured, met])).toEqual([
    ["2.50 ms", true],
    ["399/s", false],
    ["3.00 times", true],
    ["3.00 times", true],
  ]);
  expect(verdicts(results, [""], null)).toHaveLength(2);
});
