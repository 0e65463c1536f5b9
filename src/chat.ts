/** THE FLOW: one request from accepted to answered, each step one call (docs/architecture.md). */
import type { Catalogue } from "./catalogue.ts";
import { loadCatalogue } from "./catalogue.ts";
import type { ChatAnswer, ChatRequest } from "./conversation.ts";
import { createEdgeClient, type EdgeClient } from "./edge/client.ts";
import { settings, type Env, type Settings } from "./env.ts";
import { ApiError } from "./errors.ts";
import { createDetokenizer } from "./model/detokenizer.ts";
import { createOriginClient, type OriginClient } from "./origin/client.ts";
import { exitsFor, reserve, type Payer } from "./payment.ts";
import { planGeneration } from "./plan.ts";
import { scorePrompt } from "./policy/prompt-gate.ts";
import { decideByPrompt, type Circumstances } from "./policy/route.ts";
import { selectModel, type ExitPolicy } from "./policy/selection.ts";
import { serve, type Plan } from "./serve.ts";
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
 * Answers one chat request. Resolves when the exit is decided and its first token is there.
 * @param payer who was authenticated, and pays
 * @param gone aborted when the client is gone
 * @throws ApiError for everything the client may be told
 */
export async function chat(deps: ChatDeps, payer: Payer, request: ChatRequest, gone: AbortSignal): Promise<ChatAnswer> {
  const { bundle, tokenizer, template } = deps.catalogue;
  const policy = exitPolicy(request.model, deps.catalogue);
  const deployment = circumstancesOf(deps);
  const exits = exitsFor(policy, payer.caller, deployment);
  const generation = planGeneration(bundle, request, template.encode(request.messages));
  const { token_ids, max_tokens: maxTokens } = generation;
  const promptTokens = token_ids.length;
  const asked = {
    promptTokens,
    maxTokens,
    exits,
    deepest: Math.max(...bundle.exits),
    exitFixed: policy.kind === "fixed",
  };
  const payment = await reserve(payer, request, asked);
  const { meter } = payment;
  try {
    const plan = decide(deps, policy, request, limited(deployment, payment.exits));
    meter.startReading(plan.decision);
    const signal = AbortSignal.any([gone, meter.lost]);
    const served = await serve(deps, { ...generation, max_tokens: payment.maxTokens }, plan, signal);
    meter.startReading(served.route);
    const route = { ...served.route, reason: served.route.reason + payment.note };
    const events = textStream(meter.count(served.tokens, served.cachedTokens, gone), {
      detokenizer: createDetokenizer(tokenizer),
      bytesOf: (id) => tokenizer.bytesOf(id),
      stop: request.stop,
      route: () => route,
      cost: () => meter.cost(),
      promptTokens,
      cachedTokens: served.cachedTokens,
    });
    return { model: bundle.name, route, promptTokens, headers: payment.headers, events };
  } catch (error) {
    // A client that leaves pays for the prompt that was being read; one that we fail pays nothing.
    await (gone.aborted ? meter.settle() : meter.release());
    throw error;
  }
}

/** What the deployment can run. */
function circumstancesOf({ settings: { edgeExits }, catalogue: { bundle }, origin }: ChatDeps): Circumstances {
  const { exits } = bundle;
  return { exits, edgeExits: exits.filter((exit) => edgeExits.includes(exit)), originConfigured: origin !== null };
}

/** The deployment as a request sees it that may use only some exits. */
function limited(deployment: Circumstances, usable: readonly number[]): Circumstances {
  const within = (exit: number): boolean => usable.includes(exit);
  return { ...deployment, exits: usable, edgeExits: deployment.edgeExits.filter(within) };
}

/** Gate 1, among the exits that may be used. */
function decide({ catalogue }: ChatDeps, policy: ExitPolicy, request: ChatRequest, circumstances: Circumstances): Plan {
  const { bundle, router } = catalogue;
  const all = router === null ? null : scorePrompt(router, request.messages);
  const scores = all?.filter((_, index) => circumstances.exits.includes(bundle.exits[index] ?? 0)) ?? null;
  const decision = decideByPrompt(policy, scores, router?.thresholds.prompt ?? 1, circumstances);
  return { decision, policy, circumstances };
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
