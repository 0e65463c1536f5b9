/** A scripted flow: the HTTP surface under test answers from these events instead of a model. */
import { createApp } from "../../src/app.ts";
import type { ChatDeps } from "../../src/chat-deps.ts";
import type { AnswerEnd, ChatAnswer, ChatRequest, TextEvent, TextToken } from "../../src/conversation.ts";
import type { Env } from "../../src/env.ts";
import type { Flow } from "../../src/routes/context.ts";
import type { Caller } from "../../src/tenant/api.ts";
import type { Tenants } from "../../src/tenant/client.ts";
import { NO_KEY_LIMITS } from "../../src/tenant/policy.ts";
import { DEFAULT_PRICES } from "../../src/tenant/pricing.ts";
import { Turns } from "../../src/turns.ts";

/** The one key that scripted tenants know. */
export const KEY = "sk-sortie-demo-local";
export const ADMIN_TOKEN = "a-token-for-tests-only";
/** Assets without any file. */
const ASSETS = { fetch: async () => new Response(null, { status: 404 }) };
export const ENV = { EDGE_EXITS: "3,6", CORS_ORIGINS: "https://app.example", ADMIN_TOKEN, ASSETS } as unknown as Env;

/** The platform's side of a request, which ends at once. */
export const CONTEXT = { waitUntil: () => undefined, passThroughOnException: () => undefined, props: {} };

export const CALLER: Caller = {
  tenant: "demo",
  keyId: "key_1",
  limits: NO_KEY_LIMITS,
  policy: { exits: null, prices: DEFAULT_PRICES },
  cacheEpoch: 0,
};

/** Tenants that know one key, and no more. */
export const TENANTS: Tenants = {
  authenticate: async (key) => (key === KEY ? CALLER : null),
  admit: async (key) => (key === KEY ? { ok: true, caller: CALLER } : null),
  tenant: () => ({ leave: async () => undefined }) as never,
  directory: {} as never,
};

export function token(text: string, exit = 3, logprob = -0.5): TextToken {
  return { text, bytes: [...new TextEncoder().encode(text)], logprob, exit, top: [{ text, bytes: [1], logprob }] };
}

export function piece(...tokens: TextToken[]): TextEvent {
  return { type: "text", index: 0, text: tokens.map(({ text }) => text).join(""), tokens };
}

/** A piece of another choice than the first. */
export function pieceOf(index: number, ...tokens: TextToken[]): TextEvent {
  return { ...piece(...tokens), index } as TextEvent;
}

export const END: AnswerEnd = {
  type: "end",
  finishReasons: ["stop"],
  usage: { prompt_tokens: 7, cached_tokens: 4, completion_tokens_by_exit: { 3: 2, 12: 1 } },
  timings: { queue_ms: 1, prefill_ms: 2, decode_ms: 3 },
  route: { exit: 12, tier: "origin", reason: "gate=prefill; reason=hard" },
  charge: { cost: 1_234, fullDepthCost: 4_936 },
};

/** The end of a choice that is all of the answer's, or of one of several. */
export function finish(index = 0): TextEvent {
  const { usage, timings, route } = END;
  return { type: "finish", index, finishReason: "stop", usage, timings, route };
}

export interface Script {
  /** What the answer yields; a thrown error breaks the answer. */
  readonly events?: (signal: AbortSignal) => AsyncIterable<TextEvent>;
  /** Thrown instead of answering. */
  readonly refusal?: unknown;
  readonly deps?: Partial<ChatDeps>;
  readonly tenants?: Partial<Tenants>;
}

async function* defaultEvents(): AsyncGenerator<TextEvent, void> {
  yield piece(token("Par"), token("is"));
  yield piece(token(".", 12));
  yield finish();
  yield END;
}

/** The app over a scripted flow, and what it asked of the flow. */
export function scriptedApp(script: Script = {}) {
  const asked: ChatRequest[] = [];
  const signals: AbortSignal[] = [];
  const deps = {
    settings: { edgeExits: [3, 6] },
    catalogue: {
      bundle: { name: "tiny", fingerprint: "0123456789abcdef", numerics: "w8a8", exits: [3, 6, 9, 12] },
      router: null,
    },
    edge: { status: async () => ({ loaded: true, exits: [3, 6], active: 0, waiting: 0, decoded_tokens: 0 }) },
    origin: null,
    ...script.deps,
  } as unknown as ChatDeps;
  const flow: Flow = {
    chatDeps: async () => deps,
    tenants: () => ({ ...TENANTS, ...script.tenants }),
    turns: new Turns(),
    async chat(_deps, _payer, request, signal): Promise<ChatAnswer> {
      asked.push(request);
      signals.push(signal);
      if (script.refusal !== undefined) throw script.refusal;
      return {
        model: "tiny",
        route: { exit: 3, tier: "edge", reason: "gate=prompt; score=0.900; reason=easy" },
        promptTokens: 7,
        headers: { "x-ratelimit-limit-requests": "60" },
        charge: () => END.charge,
        events: (script.events ?? defaultEvents)(signal),
      };
    },
  };
  const app = createApp(flow);
  /** One request to the app. A body that is no string becomes JSON. */
  const send = (path: string, init: RequestInit & { json?: unknown } = {}) => {
    const { json, headers, ...rest } = init;
    const body = json === undefined ? {} : { body: JSON.stringify(json), method: "POST" };
    const type: Record<string, string> = json === undefined ? {} : { "content-type": "application/json" };
    const all = { authorization: `Bearer ${KEY}`, ...type, ...(headers as Record<string, string>) };
    return app.request(path, { ...rest, ...body, headers: all }, ENV, CONTEXT);
  };
  return { send, asked, signals, app };
}

export const MESSAGES = [{ role: "user", content: "What is the capital of France?" }];
