/**
 * Conformance of an origin to `sortie-origin/1`, over HTTP alone: any server in any language can be put to it.
 *   SORTIE_ORIGIN_URL + ORIGIN_SECRET   a server that runs (drain is then left out)
 *   SORTIE_ORIGIN_COMMAND               a server to start
 *   neither                             the embedded origin and the GPU origin (on the CPU)
 * SORTIE_BUNDLE (default build/bundle) is the checkpoint it serves, exported: handoffs are made with it.
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Receiver, startReceiver } from "../../scripts/trace/receiver.ts";
import type { GenerationRequest, TokenEvent } from "../../src/generation.ts";
import type { Handoff } from "../../src/handoff.ts";
import { type NodeEngine, startNodeEngine } from "../../src/model/node-client.ts";
import { createOriginClient, type OriginClient } from "../../src/origin/client.ts";
import { encodeHandoff } from "../../src/origin/handoff-codec.ts";
import {
  MAX_BODY_BYTES,
  METRIC_CAPACITY,
  METRIC_IN_FLIGHT,
  METRIC_TOKENS_COMPUTED,
  type OriginInfo,
  originInfoSchema,
} from "../../src/origin/protocol.ts";
import { NEAR_TIE_NATS } from "../golden/engine-compare.ts";
import { describeCache } from "./origin-cache-cases.ts";
import { describeTraces } from "./origin-trace-cases.ts";
import { BUNDLE, greedy, originsUnderTest, type OriginUnderTest, type Token, tokensOf } from "./origin-harness.ts";
import type { StateDtype } from "../../src/state-dtype.ts";

/** Cancelled answers, the best of which counts: tokens go on until the server sees the connection closed. */
const CANCELS = 5;
const PROMPT_TOKENS = 40;
const SAFETENSORS = "application/vnd.safetensors";

const missing = !existsSync(join(BUNDLE, "bundle.json"));
if (missing) console.log(`skipped: no bundle in ${BUNDLE}; \`npm run build\` makes one`);

describe.skipIf(missing).each(originsUnderTest())("sortie-origin/1 of $name", ({ start }) => {
  let receiver: Receiver;
  let origin: OriginUnderTest;
  let client: OriginClient;
  let info: OriginInfo;
  let engine: NodeEngine;
  /** Ids far from any control token. */
  let prompt: number[];
  /** State of the prompt at the first exit, made by the engine of the edge. */
  let handoff: Handoff;

  beforeAll(async () => {
    receiver = await startReceiver();
    origin = await start({ OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url });
    client = createOriginClient({ url: origin.url, secret: origin.secret, handoffs: "always" });
    info = await client.info();
    engine = await startNodeEngine({ directory: BUNDLE });
    const { vocab_size } = engine.bundle.shape;
    prompt = Array.from(
      { length: PROMPT_TOKENS },
      (_, i) => Math.floor(vocab_size / 4) + ((i * 37) % Math.floor(vocab_size / 2)),
    );
    handoff = await engine.prefill(prompt, engine.exits[0]!, new AbortController().signal);
  });
  afterAll(async () => {
    await engine?.close();
    await origin?.stop();
    receiver?.stop();
  });

  const deepest = (): number => info.exits.at(-1)!;
  const asking = (change: Partial<GenerationRequest> = {}): GenerationRequest =>
    greedy({ token_ids: prompt, exit_layer: deepest(), ...change });
  const json = (value: unknown) => Uint8Array.from(Buffer.from(JSON.stringify(value)));

  async function answer(request: GenerationRequest, from: Handoff | null = null, by = client): Promise<TokenEvent[]> {
    const events: TokenEvent[] = [];
    for await (const event of await by.generate(request, from)) events.push(event);
    return events;
  }

  /** Status and `error.code` of a refusal in OpenAI's form. */
  async function refusal(response: Promise<Response>): Promise<[number, string]> {
    const { status, headers, body } = await response.then(async (it) => ({
      status: it.status,
      headers: it.headers,
      body: await it.text(),
    }));
    expect(headers.get("content-type")).toMatch(/^application\/json/);
    const { error } = JSON.parse(body) as { error: Record<string, string> };
    expect(Object.keys(error).sort()).toEqual(["code", "message", "param", "type"]);
    return [status, error["code"]!];
  }

  /** Same tokens, or different ones only from a near-tie on. */
  function expectSameTokens(got: readonly Token[], wanted: readonly Token[]): void {
    const at = got.findIndex((token, i) => token.id !== wanted[i]?.id);
    if (at < 0) return expect(got).toHaveLength(wanted.length);
    const [first, second] = wanted[at]!.top_logprobs!;
    console.log(`tokens differ from position ${at} on; the top two are ${first!.logprob - second!.logprob} nats apart`);
    expect(first!.logprob - second!.logprob).toBeLessThan(NEAR_TIE_NATS);
  }

  describe("what it says of itself", () => {
    it("is healthy, unsigned", async () => {
      const response = await fetch(`${origin.url}/healthz`);
      expect([response.status, await response.json()]).toEqual([200, { status: "ok" }]);
    });

    it("serves the bundle's checkpoint", () => {
      expect(originInfoSchema.parse(info)).toEqual(info);
      expect([info.fingerprint, info.exits]).toEqual([engine.bundle.fingerprint, [...engine.exits]]);
      expect(info.context_length).toBe(engine.bundle.shape.context_length);
      expect(info.handoff_numerics).toContain(info.numerics);
    });

    it("refuses other paths", async () => {
      expect(await refusal(origin.get("/v1/nothing"))).toEqual([404, "not_found"]);
    });
  });

  describe("generation", () => {
    it("runs every exit, greedily the same each time", async () => {
      for (const exit of info.exits) {
        const events = await answer(asking({ exit_layer: exit }));
        const tokens = tokensOf(events);
        expect(tokens).toHaveLength(16);
        for (const { exit: by, id, logprob, top_logprobs } of tokens) {
          expect([by, top_logprobs?.length]).toEqual([exit, 2]);
          expect(top_logprobs![0]!.logprob).toBeGreaterThanOrEqual(top_logprobs![1]!.logprob);
          expect(id).toBe(top_logprobs![0]!.id);
          expect(logprob).toBeCloseTo(top_logprobs![0]!.logprob, 6);
          expect(logprob).toBeLessThanOrEqual(0);
        }
        expect(events.at(-1)).toMatchObject({
          type: "end",
          finish_reason: "length",
          usage: { prompt_tokens: PROMPT_TOKENS, completion_tokens_by_exit: { [exit]: 16 } },
        });
        expect(tokensOf(await answer(asking({ exit_layer: exit })))).toEqual(tokens);
      }
    });

    it("samples the same tokens from the same seed, and others from another", async () => {
      const sampled = async (seed: number): Promise<number[]> =>
        tokensOf(await answer(asking({ sampling: { ...asking().sampling, temperature: 2, seed } }))).map(
          ({ id }) => id,
        );
      expect(await sampled(7)).toEqual(await sampled(7));
      expect(await sampled(7)).not.toEqual(await sampled(8));
    });

    it("stops before a stop token, and does not send it", async () => {
      const all = tokensOf(await answer(asking())).map(({ id }) => id);
      const stop = all.at(-1)!;
      const events = await answer(asking({ stop_token_ids: [stop] }));
      expect(tokensOf(events).map(({ id }) => id)).toEqual(all.slice(0, all.indexOf(stop)));
      expect(events.at(-1)).toMatchObject({ type: "end", finish_reason: "stop" });
    });

    it.each(["token_ids", "top_logprobs", "sampling"])("refuses a request without a valid %s", async (field) => {
      expect(await refusal(origin.post(json({ ...asking(), [field]: "x" })))).toEqual([400, "request_invalid"]);
    });

    it("answers for its own checkpoint alone", async () => {
      const ask = async (fingerprint: string) => {
        const { url, secret } = origin;
        const asked = createOriginClient({ url, secret, fingerprint }).generate(asking({ max_tokens: 1 }), null);
        for await (const _ of await asked);
      };
      await ask(info.fingerprint);
      await expect(ask("0123456789abcdef")).rejects.toMatchObject({ status: 404, code: "checkpoint_mismatch" });
    });

    it("refuses what it cannot run", async () => {
      expect(await refusal(origin.post(Uint8Array.from(Buffer.from("{nope"))))).toEqual([400, "request_invalid"]);
      expect(await refusal(origin.post(json({ ...asking(), more: 1 })))).toEqual([400, "request_invalid"]);
      expect(await refusal(origin.post(json(asking({ exit_layer: 1_000 }))))).toEqual([400, "exit_unknown"]);
      expect(await refusal(origin.post(json(asking({ token_ids: [2 ** 30] }))))).toEqual([400, "request_invalid"]);
      for (const answer_tokens of [2, 3, 1_000_000]) {
        const asked = json({ ...asking({ token_ids: [1, 2] }), answer_tokens });
        expect(await refusal(origin.post(asked))).toEqual([400, "request_invalid"]);
      }
      const long = json(asking({ max_tokens: info.context_length }));
      expect(await refusal(origin.post(long))).toEqual([400, "context_length_exceeded"]);
      expect(await refusal(origin.post(json(asking()), "text/plain"))).toEqual([415, "content_type_unsupported"]);
    });
  });

  describe("handoff", () => {
    it("resumes to the tokens that token ids give", async () => {
      const wanted = tokensOf(await answer(asking()));
      const failures: unknown[] = [];
      const strict = (dtype: StateDtype) =>
        createOriginClient({
          url: origin.url,
          secret: origin.secret,
          wire: { dtype, kvHeads: engine.bundle.shape.kv_heads },
          onHandoffRefused: (e) => failures.push(e),
        });
      const events = await answer(asking(), handoff, strict("F32"));
      expectSameTokens(tokensOf(events), wanted);
      expect(events.at(-1)).toMatchObject({ usage: { prompt_tokens: PROMPT_TOKENS, cached_tokens: 0 } }); // deeper layers were computed
      for (const dtype of ["F16", "I8"] as const) {
        expect(tokensOf(await answer(asking(), handoff, strict(dtype)))).toHaveLength(16);
      }
      expect(failures).toEqual([]);
    });

    it("reads from layer 1 the ids that have no state yet", async () => {
      const longer = [...prompt, ...prompt.slice(0, 5)];
      const wanted = tokensOf(await answer(asking({ token_ids: longer })));
      const part = { ...handoff, inputIds: Int32Array.from(longer) };
      const events = await answer(asking({ token_ids: longer }), part);
      expectSameTokens(tokensOf(events), wanted);
    });

    it("goes on at the exit that the state is of", async () => {
      const shallow = { exit_layer: handoff.exitLayer };
      const events = await answer(asking(shallow), handoff);
      expectSameTokens(tokensOf(events), tokensOf(await answer(asking(shallow))));
      expect(events.at(-1)).toMatchObject({ usage: { cached_tokens: PROMPT_TOKENS } });
    });

    it("resumes a state that brings hidden states of its inner exits", async () => {
      const deep = await engine.prefill(prompt, info.exits[1]!, new AbortController().signal);
      expect([...deep.innerHidden.keys()]).toEqual([info.exits[0]]);
      const cached = asking({ cache: { scope: "acme/0", shared_tokens: 0, continued: false } });
      const failures: unknown[] = [];
      const { url, secret } = origin;
      const strict = createOriginClient({ url, secret, onHandoffRefused: (error) => failures.push(error) });
      expectSameTokens(tokensOf(await answer(cached, deep, strict)), tokensOf(await answer(asking())));
      expect(failures).toEqual([]);
    });

    const edited = (from: string, to: string): Uint8Array<ArrayBuffer> => {
      const body = encodeHandoff(handoff, asking());
      expect(to.length).toBe(from.length); // so that the header keeps its length
      const at = Buffer.from(body.buffer).indexOf(from);
      expect(at).toBeGreaterThan(0);
      body.set(Buffer.from(to), at);
      return body;
    };
    const wider = (rows: Float32Array): Float32Array => new Float32Array(rows.length * 2);

    it("refuses what it cannot resume, by name", async () => {
      const refused = (body: Uint8Array<ArrayBuffer>) => refusal(origin.post(body, SAFETENSORS));
      const body = encodeHandoff(handoff, asking());
      expect(await refused(edited(handoff.fingerprint, "0123456789abcdef"))).toEqual([
        400,
        "handoff_fingerprint_mismatch",
      ]);
      expect(await refused(encodeHandoff({ ...handoff, hiddenState: wider(handoff.hiddenState) }, asking()))).toEqual([
        400,
        "handoff_shape_mismatch",
      ]);
      expect(await refused(encodeHandoff({ ...handoff, pastK: handoff.pastK.map(wider) }, asking()))).toEqual([
        400,
        "handoff_shape_mismatch",
      ]);
      expect(await refused(edited('"dtype":"F32"', '"dtype":"I32"'))).toEqual([400, "handoff_dtype_unsupported"]);
      expect(await refused(edited('"dtype":"F32"', '"dtype":"F16"'))).toEqual([400, "handoff_length_mismatch"]);
      expect(await refused(body.slice(0, -4))).toEqual([400, "handoff_length_mismatch"]);
      expect(await refused(body.slice(0, 100))).toEqual([400, "handoff_malformed"]);
      expect(await refused(new Uint8Array(0))).toEqual([400, "handoff_malformed"]);
      const foreign = (["fp32", "bf16", "w8a8"] as const).find((it) => !info.handoff_numerics.includes(it));
      if (foreign !== undefined) {
        expect(await refused(encodeHandoff({ ...handoff, numerics: foreign }, asking()))).toEqual([
          400,
          "handoff_numerics_mismatch",
        ]);
      }
      const shallow = asking({ exit_layer: info.exits[0]! });
      const deep = await engine.prefill(prompt, info.exits[1]!, new AbortController().signal);
      expect(await refused(encodeHandoff(deep, shallow))).toEqual([400, "handoff_exit_mismatch"]);
    });

    it("answers all the same through the client, by token ids", async () => {
      const codes: (string | null)[] = [];
      const onHandoffRefused = ({ code }: { code: string | null }): void => void codes.push(code);
      const falling = createOriginClient({ url: origin.url, secret: origin.secret, onHandoffRefused });
      const foreign = { ...handoff, fingerprint: "0123456789abcdef" };
      expect(tokensOf(await answer(asking(), foreign, falling))).toEqual(tokensOf(await answer(asking())));
      expect(codes).toEqual(["handoff_fingerprint_mismatch"]);
    });
  });

  describeCache(() => ({ origin, info, bundle: engine.bundle, asking, answer, refusal, expectSameTokens }));

  describeTraces(() => ({ origin, receiver, asking }));

  describe("signature", () => {
    const unsigned = (headers: Record<string, string>, body = json(asking())) =>
      refusal(
        fetch(`${origin.url}/v1/generate`, {
          method: "POST",
          headers: { "content-type": "application/json", ...headers },
          body,
        }),
      );

    it("is asked of everything but health", async () => {
      expect(await unsigned({})).toEqual([401, "signature_missing"]);
      expect(await refusal(fetch(`${origin.url}/v1/info`))).toEqual([401, "signature_missing"]);
    });

    it("is of a body as it is sent: a compressed one is refused", async () => {
      const body = json(asking());
      const headers = { ...origin.sign("POST", "/v1/generate", body), "content-type": "application/json" };
      const answer = fetch(`${origin.url}/v1/generate`, {
        method: "POST",
        headers: { ...headers, "content-encoding": "gzip" },
        body,
      });
      expect(await refusal(answer)).toEqual([415, "content_type_unsupported"]);
    });

    it("is not what opens the metrics: Prometheus sends a token", async () => {
      const metrics = (headers: Record<string, string>) => fetch(`${origin.url}/metrics`, { headers });
      const invalid = [401, "metrics_token_invalid"];
      expect(await refusal(metrics({}))).toEqual(invalid);
      expect(await refusal(metrics({ authorization: "Bearer wrong" }))).toEqual(invalid);
      expect(await refusal(metrics(origin.sign("GET", "/metrics", new Uint8Array(0))))).toEqual(invalid);
      const open = await metrics({ authorization: `Bearer ${origin.secret}` });
      expect([open.status, await open.text()]).toEqual([200, expect.stringContaining("sortie_origin_")]);
    });

    it("is for one start of the origin, which it names to those who do not know it", async () => {
      const boot = await origin.learnBoot();
      expect(boot).toMatch(/^[0-9a-f]{32}$/);
      const body = json(asking());
      for (const other of ["", "0".repeat(32)]) {
        const headers = {
          "content-type": "application/json",
          ...origin.sign("POST", "/v1/generate", body, { boot: other }),
        };
        const refused = await fetch(`${origin.url}/v1/generate`, { method: "POST", headers, body });
        expect(refused.headers.get("x-sortie-boot")).toBe(boot);
        expect(await refusal(Promise.resolve(refused))).toEqual([401, "signature_boot_mismatch"]);
      }
      expect(await unsigned(origin.sign("POST", "/v1/generate", body, { boot: "no hexadecimal" }))).toEqual([
        401,
        "signature_invalid",
      ]);
    });

    it("must fit path, body and secret", async () => {
      const body = json(asking());
      expect(await unsigned(origin.sign("POST", "/v1/info", body))).toEqual([401, "signature_invalid"]);
      expect(await unsigned(origin.sign("POST", "/v1/generate", json({})))).toEqual([401, "signature_invalid"]);
      const foreign = origin.sign("POST", "/v1/generate", body, { secret: "another secret of some length" });
      expect(await unsigned(foreign)).toEqual([401, "signature_invalid"]);
    });

    it("must be fresh, and is good for one request", async () => {
      for (const timestamp of [Date.now() - 61_000, Date.now() + 61_000]) {
        expect(await unsigned(origin.sign("POST", "/v1/generate", json(asking()), { timestamp }))).toEqual([
          401,
          "signature_stale",
        ]);
      }
      const headers = origin.sign("GET", "/v1/info", new Uint8Array(0));
      expect((await fetch(`${origin.url}/v1/info`, { headers })).status).toBe(200);
      expect(await refusal(fetch(`${origin.url}/v1/info`, { headers }))).toEqual([401, "signature_replayed"]);
    });

    it("does not make a body too large acceptable", async () => {
      const large = new Uint8Array(MAX_BODY_BYTES + 1);
      expect(await refusal(origin.post(large, SAFETENSORS))).toEqual([413, "body_too_large"]);
    });
  });

  describe("load", () => {
    const endless = (): GenerationRequest => asking({ max_tokens: info.context_length - PROMPT_TOKENS });

    it("stops the compute within one token when its client goes", async () => {
      const unread: number[] = [];
      for (let attempt = 0; attempt < CANCELS; attempt++) {
        const before = await origin.metric(METRIC_TOKENS_COMPUTED);
        let received = 0;
        for await (const _ of await client.generate(endless(), null)) if (++received === 5) break;
        await expect.poll(() => origin.metric(METRIC_IN_FLIGHT), { interval: 5 }).toBe(0);
        const stopped = await origin.metric(METRIC_TOKENS_COMPUTED);
        unread.push(stopped - before - received);
        await new Promise((resolve) => setTimeout(resolve, 100));
        expect(await origin.metric(METRIC_TOKENS_COMPUTED)).toBe(stopped);
      }
      console.log(`cancelled after 5 of ${endless().max_tokens} tokens; computed beyond: ${unread.join(", ")}`);
      expect(Math.min(...unread)).toBeLessThanOrEqual(1);
      expect(Math.max(...unread)).toBeLessThan(endless().max_tokens / 2);
    });

    it("refuses more than it has places for, and answers the rest", async () => {
      const capacity = await origin.metric(METRIC_CAPACITY);
      const wanted = tokensOf(await answer(asking()));
      const answers = await Promise.allSettled(Array.from({ length: capacity + 3 }, () => answer(asking())));
      const refused = answers.filter((it) => it.status === "rejected");
      expect(refused.length).toBeGreaterThan(0);
      expect(refused.length).toBeLessThanOrEqual(3);
      for (const { reason } of refused) expect(reason).toMatchObject({ kind: "overloaded", code: "origin_overloaded" });
      for (const { reason } of refused)
        expect((reason as { retryAfterSeconds: number }).retryAfterSeconds).toBeGreaterThan(0);
      for (const it of answers) if (it.status === "fulfilled") expectSameTokens(tokensOf(it.value), wanted);
    });

    it("lets an answer finish when told to end, and takes nothing new", async ({ skip }) => {
      const server = origin.process;
      if (server === null) return skip("the server was not started by this suite");
      const exited = new Promise((resolve) => server.once("exit", resolve));
      const request = asking({ max_tokens: Math.min(100, info.context_length - PROMPT_TOKENS) });
      const running = await client.generate(request, null);
      server.kill("SIGTERM");
      await expect.poll(async () => (await fetch(`${origin.url}/healthz`)).status, { interval: 5 }).toBe(503);
      await expect(client.generate(request, null)).rejects.toMatchObject({
        kind: "overloaded",
        code: "origin_draining",
      });
      const events: TokenEvent[] = [];
      for await (const event of running) events.push(event);
      expect(tokensOf(events)).toHaveLength(request.max_tokens);
      expect(await exited).toBe(0);
    });
  });
});
