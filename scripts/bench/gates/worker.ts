/** The pure gates in workerd. Its clock stands still while it computes: the caller times whole requests. */
import { z } from "zod";
import { scorePrefill, type Prefilled } from "../../../src/policy/prefill-gate.ts";
import { scorePrompt, type PromptGate } from "../../../src/policy/prompt-gate.ts";

const BUCKETS = 16_384;
const EXITS = 4;
const HIDDEN = 192;

const askedSchema = z.strictObject({
  gate: z.enum(["prompt", "prefill"]),
  texts: z.array(z.string()).min(1),
  rounds: z.number().int().positive(),
});

/** Weights as a calibration has them; their values do not change the time. */
const gate: PromptGate = {
  buckets: BUCKETS,
  weights: Int8Array.from({ length: BUCKETS * EXITS }, (_, at) => (at % 255) - 127),
  scale: [0.01, 0.01, 0.01, 0.01],
  bias: [0, 0, 0, 0],
};
const probe = { weights: Float32Array.from({ length: 4 + 2 * HIDDEN }, (_, at) => Math.sin(at)), bias: 0 };
const seen: Prefilled = {
  firstToken: { top1: 0.9, margin: 0.8, entropy: 0.3 },
  hiddenLast: Float32Array.from({ length: HIDDEN }, (_, at) => Math.cos(at)),
  hiddenMean: Float32Array.from({ length: HIDDEN }, (_, at) => Math.cos(2 * at)),
};

export default {
  async fetch(request: Request): Promise<Response> {
    const { gate: which, texts, rounds } = askedSchema.parse(await request.json());
    let sum = 0;
    for (let round = 0; round < rounds; round++) {
      for (const content of texts) {
        sum +=
          which === "prompt"
            ? (scorePrompt(gate, [{ role: "user", content }])[0] ?? 0)
            : scorePrefill(probe, (content.length % 100) / 100, seen);
      }
    }
    return Response.json({ sum });
  },
};
