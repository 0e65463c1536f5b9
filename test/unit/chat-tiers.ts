/** The flow's surroundings, scripted: a tokenizer of letters, and tiers whose tokens depend on the seed alone. */
import type { ChatDeps } from "../../src/chat.ts";
import type { ChatRequest, TextEvent } from "../../src/conversation.ts";
import type { EdgeEvent, EdgeJob } from "../../src/edge/job.ts";
import { samplingSchema, type GenerationRequest, type TokenEvent } from "../../src/generation.ts";

export const REQUEST: ChatRequest = {
  requestId: "r-1",
  model: "tiny",
  prompts: [{ kind: "text", text: "one" }],
  choices: 1,
  maxTokens: 4,
  sampling: samplingSchema.parse({ seed: 5 }),
  stop: [],
  topLogprobs: null,
};

/** A client that never goes. */
export const STAYS = new AbortController().signal;

/** Tokens of one generation: its seed's last digit, as often as asked. */
async function* tokensOf(
  request: GenerationRequest,
  signal: AbortSignal,
  { pause = 1, breaksAt = Infinity, hangsAt = Infinity }: Tiers,
): AsyncGenerator<TokenEvent, void> {
  for (let made = 0; made < request.max_tokens; made++) {
    if (pause > 0) await new Promise((resolve) => setTimeout(resolve, pause));
    if (made === hangsAt && !signal.aborted) {
      await new Promise((resolve) => signal.addEventListener("abort", resolve, { once: true }));
    }
    signal.throwIfAborted();
    if (made === breaksAt) throw new Error("the tier fell over");
    yield { type: "token", id: 48 + (request.sampling.seed % 10), logprob: -1, exit: request.exit_layer };
  }
  const by = { [request.exit_layer]: request.max_tokens };
  const usage = { prompt_tokens: request.token_ids.length, cached_tokens: 0, completion_tokens_by_exit: by };
  yield { type: "end", finish_reason: "length", usage, timings: { queue_ms: 0, prefill_ms: 1, decode_ms: 1 } };
}

export interface Tiers {
  /** Answers at the edge at once; others wait. */
  readonly places?: number;
  /** Gate 1 finds everything easy, and gate 2 every prompt hard. */
  readonly hard?: boolean;
  /** Milliseconds before each token. */
  readonly pause?: number;
  /** Token of every generation at which its tier fails. */
  readonly breaksAt?: number;
  /** Token of every generation before which its tier hangs, until it is told to stop. */
  readonly hangsAt?: number;
}

const ROUTER = {
  exits: [3, 6, 12],
  buckets: 2,
  promptWeights: new Float32Array(6),
  promptScale: [0, 0, 0],
  promptBias: [9, 9, 9],
  thresholds: { prompt: 0.5, prefill: 0.5 },
  prefill: new Map([[3, { weights: [0, 0, 0, 0], bias: 0 }]]),
};

export function scripted(tiers: Tiers = {}) {
  const { places = 4, hard = false } = tiers;
  const state = { edge: [] as EdgeJob[], origin: [] as GenerationRequest[], active: 0, most: 0 };
  const waiting: (() => void)[] = [];
  async function* events(job: EdgeJob, signal: AbortSignal): AsyncGenerator<EdgeEvent, void> {
    if (state.active === places) {
      await new Promise<void>((resolve, reject) => {
        waiting.push(resolve);
        signal.addEventListener("abort", () => reject(signal.reason as Error));
      });
    }
    state.active++;
    state.most = Math.max(state.most, state.active);
    try {
      if (job.prefill_gate !== null) {
        yield { type: "verdict", handoff: true, reason: "gate=prefill; reason=hard" };
        yield { type: "handoff", handoff: { positions: 3 } as never };
        return;
      }
      yield* tokensOf(job.request, signal, tiers);
    } finally {
      state.active--;
      waiting.shift()?.();
    }
  }
  const bundle = {
    name: "tiny",
    exits: [3, 6, 12],
    shape: { vocab_size: 100, context_length: 64 },
    eos_token_ids: [2],
  };
  const tokenizer = {
    textPrefix: [1],
    stripsLeadingSpace: false,
    encode: (text: string) => Array.from(text, (char) => char.charCodeAt(0) - 32),
    bytesOf: (id: number) => Uint8Array.of(id),
  };
  const deps = {
    settings: { edgeExits: [3, 6] },
    catalogue: { bundle, tokenizer, template: { encode: () => [7, 8] }, router: hard ? ROUTER : null },
    edge: {
      async run(job: EdgeJob, signal: AbortSignal) {
        state.edge.push(job);
        return { ok: true, events: events(job, signal) };
      },
    },
    origin: {
      async generate(request: GenerationRequest, _: unknown, signal: AbortSignal) {
        state.origin.push(request);
        return tokensOf(request, signal, tiers);
      },
    },
  } as unknown as ChatDeps;
  return { deps, state };
}

/** Texts by choice, and the end. */
export async function read(events: AsyncIterable<TextEvent>) {
  const texts: string[] = [];
  for await (const event of events) {
    if (event.type === "text") texts[event.index] = (texts[event.index] ?? "") + event.text;
    if (event.type === "end") return { texts, end: event };
  }
  throw new Error("no end");
}
