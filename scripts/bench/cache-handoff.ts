/** A prompt at the embedded origin: read from its token ids, or resumed from what the edge has computed. */
import { type GenerationRequest, generationRequestSchema } from "../../src/generation.ts";
import { startNodeEngine, type NodeEngine } from "../../src/model/node-client.ts";
import { decodeHandoff, encodeHandoff, EXACT, handoffBytes, handoffTarget } from "../../src/origin/handoff-codec.ts";
import type { BenchModel } from "./models.ts";
import { difference, median } from "./rounds.ts";

export interface HandoffPoint {
  readonly model: string;
  /** The edge's, from which the origin goes on. */
  readonly exit: number;
  readonly tokens: number;
  readonly text_ms: number;
  /** Writing and reading the body included, moving it not. */
  readonly handoff_ms: number;
  readonly saved_ms: number;
  /** Of the body in F32. */
  readonly bytes: number;
  /** Megabits per second from which on the handoff is faster. */
  readonly break_even_mbit: number;
}

const SIZES = [64, 128, 256, 512, 1024];
const never = new AbortController().signal;

/** First token at the deepest exit, by prompt length. */
export async function measureHandoffs(model: BenchModel, exit: number, rounds: number): Promise<HandoffPoint[]> {
  const engine = await startNodeEngine({ directory: model.bundle });
  try {
    const points: HandoffPoint[] = [];
    const longest = engine.bundle.shape.context_length - 1;
    for (const tokens of SIZES.map((size) => Math.min(size, longest)))
      points.push(await measure(engine, model, exit, tokens, rounds));
    return points;
  } finally {
    await engine.close();
  }
}

async function measure(engine: NodeEngine, { name }: BenchModel, exit: number, tokens: number, rounds: number) {
  const deepest = engine.exits.at(-1) ?? exit;
  const [text, resumed]: [number[], number[]] = [[], []];
  let bytes = 0;
  for (let round = 0; round < rounds; round++) {
    const ids = Array.from({ length: tokens }, (_, at) => 5 + ((at * 31 + round * 7) % 200));
    const request = generationRequestSchema.parse({
      request_id: "bench",
      token_ids: ids,
      exit_layer: deepest,
      max_tokens: 1,
      sampling: { temperature: 0, seed: 0 },
      stop_token_ids: [],
    });
    const state = await engine.prefill(ids, exit, never);
    bytes = handoffBytes(state, request, EXACT);
    text.push(await timed(() => first(engine, request)));
    resumed.push(
      await timed(async () => {
        const target = handoffTarget(engine.bundle, engine.bundle.exits);
        const { handoff } = decodeHandoff(encodeHandoff(state, request), target);
        await first(engine, request, handoff);
      }),
    );
  }
  const saved = difference(text, resumed);
  const break_even_mbit = (8 * bytes) / 1e6 / (saved / 1_000);
  const times = { text_ms: median(text), handoff_ms: median(resumed), saved_ms: saved };
  return { model: name, exit, tokens, ...times, bytes, break_even_mbit };
}

async function first(engine: NodeEngine, ...request: [GenerationRequest, Parameters<NodeEngine["generate"]>[2]?]) {
  const [asked, handoff] = request;
  for await (const event of engine.generate(asked, never, handoff)) if (event.type === "token") return;
}

async function timed(work: () => Promise<void>): Promise<number> {
  const started = performance.now();
  await work();
  return performance.now() - started;
}
