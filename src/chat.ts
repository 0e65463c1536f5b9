/** THE FLOW: one request from accepted to answered, each step one call (docs/architecture.md). */
import type { Catalogue } from "./catalogue.ts";
import { loadCatalogue } from "./catalogue.ts";
import type { ChatAnswer, ChatRequest } from "./conversation.ts";
import { createEdgeClient, type EdgeClient } from "./edge/client.ts";
import { settings, type Env, type Settings } from "./env.ts";
import { ApiError } from "./errors.ts";
import { createDetokenizer } from "./model/detokenizer.ts";
import { createOriginClient, type OriginClient } from "./origin/client.ts";
import { planGeneration } from "./plan.ts";
import { scorePrompt } from "./policy/prompt-gate.ts";
import { decideByPrompt } from "./policy/route.ts";
import { selectModel, type ExitPolicy } from "./policy/selection.ts";
import { serve } from "./serve.ts";
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
 * @param signal aborted when the client is gone
 * @throws ApiError for everything the client may be told
 */
export async function chat(deps: ChatDeps, request: ChatRequest, signal: AbortSignal): Promise<ChatAnswer> {
  const { bundle, tokenizer, template, router } = deps.catalogue;
  const policy = exitPolicy(request.model, deps.catalogue);
  const generation = planGeneration(bundle, request, template.encode(request.messages));
  const circumstances = {
    exits: bundle.exits,
    edgeExits: bundle.exits.filter((exit) => deps.settings.edgeExits.includes(exit)),
    originConfigured: deps.origin !== null,
  };
  const scores = router === null ? null : scorePrompt(router, request.messages);
  const decision = decideByPrompt(policy, scores, router?.thresholds.prompt ?? 1, circumstances);
  const served = await serve(deps, generation, { decision, policy, circumstances }, signal);
  return {
    model: bundle.name,
    route: served.route,
    promptTokens: generation.token_ids.length,
    events: textStream(served.tokens, {
      detokenizer: createDetokenizer(tokenizer),
      bytesOf: (id) => tokenizer.bytesOf(id),
      stop: request.stop,
      route: () => served.route,
      promptTokens: generation.token_ids.length,
      cachedTokens: served.cachedTokens,
    }),
  };
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
