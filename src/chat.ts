/** THE FLOW: one request from accepted to answered, each step one call (docs/architecture.md). */
import type { Catalogue } from "./catalogue.ts";
import { loadCatalogue } from "./catalogue.ts";
import { joinChoices } from "./choices.ts";
import type { ChatAnswer, ChatRequest, ChoiceEvent, Prompt, Route } from "./conversation.ts";
import { createEdgeClient, type EdgeClient } from "./edge/client.ts";
import { settings, type Env, type Settings } from "./env.ts";
import { ApiError } from "./errors.ts";
import type { GenerationRequest } from "./generation.ts";
import { closing } from "./iteration.ts";
import { createDetokenizer } from "./model/detokenizer.ts";
import { createOriginClient, type OriginClient } from "./origin/client.ts";
import { ofChoice, planGeneration } from "./plan.ts";
import { scorePrompt } from "./policy/prompt-gate.ts";
import { decideByPrompt, decidedAlready } from "./policy/route.ts";
import { selectModel, type ExitPolicy } from "./policy/selection.ts";
import { encodePrompt, type EncodedPrompt } from "./prompt.ts";
import { serve, type Plan, type Served } from "./serve.ts";
import { textStream } from "./text-stream.ts";

/** What one request's flow may use. */
export interface ChatDeps {
  readonly settings: Settings;
  readonly catalogue: Catalogue;
  readonly edge: EdgeClient;
  /** null when no origin is configured: the edge answers alone. */
  readonly origin: OriginClient | null;
}

/** The deployment's parts for one request; the catalogue is loaded once an isolate. */
export async function chatDeps(env: Env, request: Request): Promise<ChatDeps> {
  const catalogue = await loadCatalogue(env);
  const { bundle } = catalogue;
  const config = settings(env);
  const edge = createEdgeClient({
    namespace: env.EDGE_EXIT,
    shards: config.edgeShards,
    location: typeof request.cf?.colo === "string" ? request.cf.colo : "local",
    target: {
      fingerprint: bundle.fingerprint,
      numerics: [bundle.numerics],
      exits: bundle.exits,
      hiddenSize: bundle.shape.hidden_size,
      kvSize: bundle.shape.kv_heads * bundle.shape.head_dim,
      vocabSize: bundle.shape.vocab_size,
    },
  });
  const origin = config.origin === null ? null : createOriginClient(config.origin);
  return { settings: config, catalogue, edge, origin };
}

/**
 * Answers one request. Resolves when the first choice's exit is decided and its first token is there.
 * @param signal aborted when the client is gone
 * @throws ApiError for everything the client may be told
 */
export async function chat(deps: ChatDeps, request: ChatRequest, signal: AbortSignal): Promise<ChatAnswer> {
  const policy = exitPolicy(request.model, deps.catalogue);
  const read = request.prompts.map((prompt) => readPrompt(deps, request, prompt));
  const jobs = read.map((job) => ({ ...job, plan: decide(deps, job.prompt, policy) }));
  const abandoned = new AbortController();
  const stop = AbortSignal.any([signal, abandoned.signal]);
  const [openFirst, ...openOthers] = jobs.flatMap((job) => choicesOf(deps, request, job, stop));
  if (openFirst === undefined) throw new Error("a request without prompts or choices");
  const first = await openFirst();
  const openers = [async () => first, ...openOthers].map((open) => async () => (await open()).events);
  const events = joinChoices(openers, request.choices, () => abandoned.abort());
  return {
    model: deps.catalogue.bundle.name,
    route: first.route,
    promptTokens: jobs.reduce((sum, { prompt }) => sum + prompt.tokenIds.length, 0),
    events: closing(events, async () => first.events.return?.()),
  };
}

/** One prompt as token ids, and what is asked of a tier. */
interface ReadPrompt {
  readonly prompt: EncodedPrompt;
  readonly generation: Omit<GenerationRequest, "exit_layer">;
}

/** @throws ApiError 400: what cannot be encoded, or does not fit */
function readPrompt({ catalogue }: ChatDeps, request: ChatRequest, asked: Prompt): ReadPrompt {
  const prompt = encodePrompt(catalogue, asked);
  return { prompt, generation: planGeneration(catalogue.bundle, request, prompt) };
}

/** A prompt, and where the gates send it before anything is computed. */
interface Job extends ReadPrompt {
  readonly plan: Plan;
}

/** Gate 1. */
function decide({ settings: config, catalogue, origin }: ChatDeps, prompt: EncodedPrompt, policy: ExitPolicy): Plan {
  const { bundle, router } = catalogue;
  const circumstances = {
    exits: bundle.exits,
    edgeExits: bundle.exits.filter((exit) => config.edgeExits.includes(exit)),
    originConfigured: origin !== null,
  };
  const scores = router === null ? null : scorePrompt(router, prompt.messages);
  const decision = decideByPrompt(policy, scores, router?.thresholds.prompt ?? 1, circumstances);
  return { decision, policy, circumstances };
}

interface Choice {
  readonly route: Route;
  readonly events: AsyncIterableIterator<ChoiceEvent>;
}

/** Openers of a prompt's choices. The gates decide for the first; the others go where it was served. */
function choicesOf(deps: ChatDeps, request: ChatRequest, job: Job, signal: AbortSignal): (() => Promise<Choice>)[] {
  const { generation, plan } = job;
  let first: Promise<Served> | null = null;
  const serveFirst = (): Promise<Served> => (first ??= serve(deps, generation, plan, signal));
  const serveAnother = async (choice: number): Promise<Served> => {
    const { route } = await serveFirst();
    return serve(deps, ofChoice(generation, choice), { ...plan, decision: decidedAlready(route) }, signal);
  };
  return Array.from({ length: request.choices }, (_, choice) => async () => {
    const served = await (choice === 0 ? serveFirst() : serveAnother(choice));
    return { route: served.route, events: choiceText(deps, request, job.prompt, served) };
  });
}

function choiceText(
  { catalogue: { tokenizer } }: ChatDeps,
  { stop }: ChatRequest,
  { tokenIds, startsText }: EncodedPrompt,
  served: Served,
): AsyncIterableIterator<ChoiceEvent> {
  return textStream(served.tokens, {
    detokenizer: createDetokenizer(tokenizer, startsText),
    bytesOf: (id) => tokenizer.bytesOf(id),
    stop,
    route: () => served.route,
    promptTokens: tokenIds.length,
    cachedTokens: served.cachedTokens,
  });
}

/** @throws ApiError 404 `model_not_found` */
function exitPolicy(model: string, { bundle }: Catalogue): ExitPolicy {
  const selection = selectModel(model, bundle);
  if (selection.ok) return selection.policy;
  const hint =
    selection.reason === "unknown_exit"
      ? `its exits are ${bundle.exits.join(", ")}`
      : `this deployment serves ${bundle.name}, see GET /v1/models`;
  throw new ApiError(`The model ${JSON.stringify(model)} does not exist: ${hint}.`, {
    status: 404,
    type: "invalid_request_error",
    code: "model_not_found",
    param: "model",
  });
}
