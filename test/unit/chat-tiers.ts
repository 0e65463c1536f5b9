/** The flow's surroundings, scripted: a tokenizer of letters, and tiers whose tokens depend on the seed alone. */
import type { ChatDeps } from "../../src/chat-deps.ts";
import type { ChatRequest, TextEvent } from "../../src/conversation.ts";
import type { EdgeEvent, EdgeJob } from "../../src/edge/job.ts";
import { samplingSchema, type GenerationRequest, type TokenEvent } from "../../src/generation.ts";
import { OriginError } from "../../src/origin/origin-error.ts";
import { TierHealth } from "../../src/tier-health.ts";
import { Turns } from "../../src/turns.ts";

export const REQUEST: ChatRequest = {
  requestId: "r-1",
  model: "tiny",
  prompts: [{ kind: "text", text: "one" }],
  choices: 1,
  maxTokens: 4,
  sampling: samplingSchema.parse({ seed: 5 }),
  stop: [],
  topLogprobs: null,
  narrowing: {},
  earlyExit: null,
};

/** A client that never goes. */
export const STAYS = new AbortController().signal;

/** Tokens of one generation: its seed's last digit, as often as asked. */
async function* tokensOf(
  request: GenerationRequest,
  signal: AbortSignal,
  { pause = 1, breaksAt = Infinity, hangsAt = Infinity }: Tiers,
  ends = true,
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
  if (!ends) return;
  const by = { [request.exit_layer]: request.max_tokens };
  const usage = { prompt_tokens: request.token_ids.length, cached_tokens: 0, completion_tokens_by_exit: by };
  yield { type: "end", finish_reason: "length", usage, timings: { queue_ms: 0, prefill_ms: 1, decode_ms: 1 } };
}

export interface Tiers {
  /** Answers at the edge at once; others wait. */
  readonly places?: number;
  /** Gate 1 finds everything easy, and gate 2 every prompt hard. */
  readonly hard?: boolean;
  /** With `hard`: gate 2 lets the answer begin, and gate 3 hands it off after so many tokens. */
  readonly doubtsAt?: number;
  /** With `hard`: gate 2 climbs to the ladder's end where no exit lies beyond it. */
  readonly climbs?: boolean;
  /** The origin cannot be reached. */
  readonly originDown?: boolean;
  /** The edge turns every job away. */
  readonly edgeFull?: boolean;
  /** Milliseconds before each token. */
  readonly pause?: number;
  /** Token of every generation at which its tier fails. */
  readonly breaksAt?: number;
  /** Token of every generation before which its tier hangs, until it is told to stop. */
  readonly hangsAt?: number;
}

const half = { prompt: 0.5, prefill: 0.5, decode: 0.5, alone: 0.5 };
const EXPECTED = {
  quality: { lower: 1, value: 1, upper: 1 },
  cost: 1,
  gates: { prompt: 0, prefill: 1, decode: 0 },
  exits: {},
};
const ROUTER = {
  exits: [3, 6, 12],
  defaultQuality: 0.95,
  prompt: { buckets: 2, weights: new Int8Array(6), scale: [0, 0, 0], bias: [9, 9, 9] },
  cascades: [
    { min_exit: 3, max_exit: 6, targets: [{ quality: 1, thresholds: half, expected: EXPECTED }] },
    { min_exit: 3, max_exit: 12, targets: [{ quality: 1, thresholds: half, expected: EXPECTED }] },
  ],
};
const SPENT = {
  usage: { prompt_tokens: 4, cached_tokens: 0, completion_tokens_by_exit: {} },
  timings: { queue_ms: 0, prefill_ms: 1, decode_ms: 0 },
};

export function scripted(tiers: Tiers = {}) {
  const { places = 4, hard = false } = tiers;
  const state = {
    edge: [] as EdgeJob[],
    origin: [] as GenerationRequest[],
    stored: [] as GenerationRequest[],
    handoffs: [] as unknown[],
    active: 0,
    most: 0,
  };
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
      if (job.gates !== null && tiers.doubtsAt !== undefined) {
        const [first] = job.gates.ladder;
        yield { type: "verdict", exit: first?.exit ?? 0, reason: "gate=prefill; reason=easy", handoff: null };
        yield* tokensOf({ ...job.request, max_tokens: tiers.doubtsAt }, signal, tiers, false);
        const usage = { ...SPENT.usage, completion_tokens_by_exit: { [job.request.exit_layer]: tiers.doubtsAt } };
        yield { type: "verdict", exit: 12, reason: "gate=decode; reason=hard", handoff: { ...SPENT, usage } };
        yield { type: "handoff", handoff: { positions: 3 } as never };
        return;
      }
      if (job.gates !== null && job.gates.prefill_to !== null) {
        yield { type: "verdict", exit: 12, reason: "gate=prefill; reason=hard", handoff: SPENT };
        yield { type: "handoff", handoff: { positions: 3 } as never };
        return;
      }
      const top = job.gates?.ladder.at(-1)?.exit;
      if (tiers.climbs === true && top !== undefined) {
        yield { type: "verdict", exit: top, reason: "gate=prefill; reason=hard", handoff: null };
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
    *encodeSlices([text]: string[]) {
      yield 1;
      return { ids: Array.from(text ?? "", (char) => char.charCodeAt(0) - 32), complete: true };
    },
    bytesOf: (id: number) => Uint8Array.of(id),
  };
  const template = {
    *encodeSlices() {
      yield 1;
      return { ids: [7, 8], complete: true };
    },
  };
  const deps = {
    settings: { edgeExits: [3, 6], sharedSystemPrompts: [], handoffs: "auto" },
    responses: null,
    health: new TierHealth(),
    catalogue: { bundle, tokenizer, template, router: hard ? ROUTER : null },
    turns: new Turns(),
    edge: {
      async stored(request: GenerationRequest) {
        state.stored.push(request);
        return { handoff: { positions: 2 }, spared: 1 };
      },
      async run(job: EdgeJob, signal: AbortSignal) {
        state.edge.push(job);
        if (tiers.edgeFull === true) return { ok: false, reason: "edge-full", message: "full" };
        return { ok: true, events: events(job, signal) };
      },
    },
    origin: {
      async generate(request: GenerationRequest, handoff: unknown, signal: AbortSignal, spared?: number) {
        state.origin.push(request);
        state.handoffs.push(handoff && { handoff, spared });
        if (tiers.originDown === true) throw new OriginError("unreachable", "down");
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
