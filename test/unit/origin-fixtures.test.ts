/**
 * What both origins must agree on, written down by the TypeScript side for gpu-backend/tests/test_origin_fixtures.py.
 * After a change that is meant: `npx vitest run test/unit/origin-fixtures.test.ts -u`.
 */
import { join } from "node:path";
import { expect, it } from "vitest";
import { type GenerationRequest, samplingSchema } from "../../src/generation.ts";
import type { Handoff } from "../../src/handoff.ts";
import { sample } from "../../src/model/sampler.ts";
import { encodeHandoff } from "../../src/origin/handoff-codec.ts";
import { STATE_DTYPES } from "../../src/state-dtype.ts";

const FIXTURES = join(import.meta.dirname, "..", "contract", "fixtures");
const VOCABULARY = 40;
const CASES = 120;

/** Numbers that look like chance and are none, in -1..1. */
const wave = (i: number): number => Math.fround(Math.sin(i * 12.9898) * 0.7 + Math.cos(i * 78.233) * 0.3);
const pick = <T>(values: readonly T[], i: number): T => values[i % values.length]!;

it("the sampler's choices", async () => {
  const lines = Array.from({ length: CASES }, (_, i) => {
    const logits = Float32Array.from({ length: VOCABULARY }, (_, id) => Math.round(24 * wave(i * VOCABULARY + id)) / 4);
    const sampling = samplingSchema.parse({
      temperature: pick([0, 0.3, 0.7, 1, 1.5, 2], i),
      top_p: pick([1, 0.9, 0.5, 1, 0.05], i),
      top_k: pick([0, 0, 5, 1, 39, 40, 100], i),
      min_p: pick([0, 0, 0, 0.1], i),
      repetition_penalty: pick([1, 1.3, 0.8], i),
      presence_penalty: pick([0, 0.5, -1], i >> 2),
      frequency_penalty: pick([0, 0.25, 0, -0.5], i >> 1),
      seed: (i * 2_654_435_761) % 2 ** 32,
    });
    const prompt = Array.from({ length: i % 7 }, (_, at) => (i * 31 + at * 17) % VOCABULARY);
    const answer = Array.from({ length: i % 5 }, (_, at) => (i * 13 + at * at * 3) % VOCABULARY);
    const counts = new Map<number, number>();
    for (const id of answer) counts.set(id, (counts.get(id) ?? 0) + 1);
    const seen = { all: new Set([...prompt, ...answer]), answer: counts };
    const position = i * i * 97;
    const id = sample(logits, sampling, seen, position);
    return JSON.stringify({ logits: Array.from(logits), sampling, prompt, answer, position, id });
  });
  await expect(`${lines.join("\n")}\n`).toMatchFileSnapshot(join(FIXTURES, "sampler.jsonl"));
});

it("the bytes of a handoff", async () => {
  const request: GenerationRequest = {
    request_id: "fixture-é",
    token_ids: [1, 7, 3, 9, 2],
    answer_tokens: 1,
    exit_layer: 4,
    max_tokens: 8,
    sampling: samplingSchema.parse({ temperature: 0.5, seed: 4_294_967_295 }),
    top_logprobs: 2,
    stop_token_ids: [2],
    cache: { scope: "acme/0", shared_tokens: 0, continued: true },
  };
  const rows = (from: number, width: number): Float32Array =>
    Float32Array.from({ length: 3 * width }, (_, i) => wave(from + i) * 2 ** ((i % 40) - 26));
  const handoff: Handoff = {
    fingerprint: "0123456789abcdef",
    numerics: "w8a8",
    exitLayer: 2,
    positions: 3,
    inputIds: Int32Array.from(request.token_ids),
    hiddenState: rows(0, 8),
    innerHidden: new Map([[1, rows(500, 8)]]),
    pastK: [rows(100, 4), rows(200, 4)],
    pastV: [rows(300, 4), rows(400, 4)],
  };
  const lines = STATE_DTYPES.map((dtype) => {
    const body = Buffer.from(encodeHandoff(handoff, request, { dtype, kvHeads: 2 })).toString("base64");
    const hidden = Array.from(handoff.hiddenState);
    const inner = Array.from(handoff.innerHidden.get(1)!);
    return JSON.stringify({ dtype, request, hidden, inner, last_values: Array.from(handoff.pastV[1]!), body });
  });
  await expect(`${lines.join("\n")}\n`).toMatchFileSnapshot(join(FIXTURES, "handoffs.jsonl"));
});
