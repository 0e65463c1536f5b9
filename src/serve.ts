/**
 * Carries a decision out: which tier is asked, what happens when gate 2 hands off, and what when a tier cannot.
 * The only place where tiers are chosen between; everything after it is tier-blind.
 */
import type { Catalogue } from "./catalogue.ts";
import type { Route } from "./conversation.ts";
import type { EdgeClient } from "./edge/client.ts";
import type { EdgeEvent, EdgeJob } from "./edge/job.ts";
import { ApiError } from "./errors.ts";
import type { GenerationRequest, TokenEvent } from "./generation.ts";
import type { Handoff } from "./handoff.ts";
import { closing } from "./iteration.ts";
import { log } from "./log.ts";
import type { OriginClient } from "./origin/client.ts";
import { OriginError } from "./origin/origin-error.ts";
import type { Circumstances, PromptDecision } from "./policy/route.ts";
import type { ExitPolicy } from "./policy/selection.ts";

/** Seconds after which a client may try again when no tier can say: about one cold load of the edge exit. */
const RETRY_AFTER_SECONDS = 5;

export interface ServeDeps {
  readonly catalogue: Catalogue;
  readonly edge: EdgeClient;
  readonly origin: OriginClient | null;
}

export interface Plan {
  readonly decision: PromptDecision;
  readonly policy: ExitPolicy;
  readonly circumstances: Circumstances;
}

/** Tokens under way, and who makes them. */
export interface Served {
  readonly route: Route;
  readonly tokens: AsyncIterable<TokenEvent>;
  /** Prompt positions handed over from the other tier. */
  readonly cachedTokens: number;
}

type Generation = Omit<GenerationRequest, "exit_layer">;

/**
 * Resolves with the first token computed, so that a failing tier can still be replaced.
 * @throws ApiError 503 when no tier can answer; the signal's reason
 */
export async function serve(deps: ServeDeps, generation: Generation, plan: Plan, signal: AbortSignal): Promise<Served> {
  const { decision } = plan;
  if (decision.tier === "origin") return serveAtOrigin(deps, generation, decision, plan, null, signal);
  return serveAtEdge(deps, generation, decision, plan, signal);
}

async function serveAtEdge(
  deps: ServeDeps,
  generation: Generation,
  route: PromptDecision,
  plan: Plan,
  signal: AbortSignal,
): Promise<Served> {
  const opening = await openEdge(deps, generation, route, signal);
  if (!opening.ok) {
    if (deps.origin === null) throw unavailable(opening.reason);
    const spilled: Route = { exit: route.exit, tier: "origin", reason: `${route.reason}; spilled=${opening.reason}` };
    return serveAtOrigin(deps, generation, spilled, plan, null, signal);
  }
  const { first, rest } = opening;
  if (first.type !== "verdict") return { route, tokens: tokensFrom(first, rest), cachedTokens: 0 };
  const decided: Route = { exit: route.exit, tier: "edge", reason: first.reason };
  const second = await nextEvent(rest);
  if (second.type !== "handoff") return { route: decided, tokens: tokensFrom(second, rest), cachedTokens: 0 };
  const escalated: Route = { exit: route.escalateTo ?? route.exit, tier: "origin", reason: first.reason };
  return serveAtOrigin(deps, generation, escalated, plan, second.handoff, signal);
}

type Opening =
  | { readonly ok: true; readonly first: EdgeEvent; readonly rest: AsyncIterator<EdgeEvent> }
  | { readonly ok: false; readonly reason: string };

/** Starts the job at a shard and waits for its first event: until then another tier can still take over. */
async function openEdge(
  deps: ServeDeps,
  generation: Generation,
  route: PromptDecision,
  signal: AbortSignal,
): Promise<Opening> {
  const failed = (reason: string, message: string): Opening => {
    log("edge.failed", { request_id: generation.request_id, reason, message });
    return { ok: false, reason };
  };
  const outcome = await deps.edge.run(edgeJob(deps.catalogue, generation, route), signal);
  if (!outcome.ok) return failed(outcome.reason, outcome.message);
  const rest = outcome.events[Symbol.asyncIterator]();
  try {
    return { ok: true, first: await nextEvent(rest), rest };
  } catch (error) {
    signal.throwIfAborted();
    return failed("edge-failed", String(error));
  }
}

/** @throws Error when the stream is over: every stream ends with an event that says so */
async function nextEvent(events: AsyncIterator<EdgeEvent>): Promise<EdgeEvent> {
  const next = await events.next();
  if (next.done === true) throw new Error("the edge exit's stream ended early");
  return next.value;
}

async function serveAtOrigin(
  deps: ServeDeps,
  generation: Generation,
  route: Route,
  plan: Plan,
  handoff: Handoff | null,
  signal: AbortSignal,
): Promise<Served> {
  try {
    if (deps.origin === null) throw new OriginError("unreachable", "no origin is configured");
    const request = { ...generation, exit_layer: route.exit };
    const { exit, tier, reason } = route;
    const tokens = await deps.origin.generate(request, handoff, signal);
    return { route: { exit, tier, reason }, tokens, cachedTokens: handoff?.positions ?? 0 };
  } catch (error) {
    signal.throwIfAborted();
    if (!(error instanceof OriginError)) throw error;
    log("origin.failed", { request_id: generation.request_id, kind: error.kind, message: error.message });
    return degrade(deps, generation, plan, error, signal);
  }
}

/** The origin cannot answer: the deepest edge exit does, if the caller left the exit to the router. */
async function degrade(
  deps: ServeDeps,
  generation: Generation,
  plan: Plan,
  error: OriginError,
  signal: AbortSignal,
): Promise<Served> {
  const exit = plan.circumstances.edgeExits.at(-1);
  if (plan.policy.kind === "fixed" || exit === undefined) throw unavailable("the origin is not reachable", error);
  const reason = `degraded; origin=${error.kind}`;
  const route: PromptDecision = { exit, tier: "edge", reason, escalateTo: null, score: null };
  const opening = await openEdge(deps, generation, route, signal);
  if (!opening.ok) throw unavailable(opening.reason, error);
  return { route: { exit, tier: "edge", reason }, tokens: tokensFrom(opening.first, opening.rest), cachedTokens: 0 };
}

/** The shard's job: the generation at the edge's exit, and gate 2 where it has a say. */
function edgeJob({ router }: Catalogue, generation: Generation, route: PromptDecision): EdgeJob {
  const request: GenerationRequest = { ...generation, exit_layer: route.exit };
  const probe = router?.prefill.get(route.exit);
  if (!router || !probe || route.escalateTo === null || route.score === null) return { request, prefill_gate: null };
  return {
    request,
    prefill_gate: {
      prompt_score: route.score,
      weights: [...probe.weights],
      bias: probe.bias,
      threshold: router.thresholds.prefill,
      escalate_to: route.escalateTo,
    },
  };
}

/** The tokens of a shard's stream whose first event was read already. */
function tokensFrom(first: EdgeEvent, rest: AsyncIterator<EdgeEvent>): AsyncIterable<TokenEvent> {
  return closing(remaining(first, rest), async () => rest.return?.());
}

async function* remaining(first: EdgeEvent, rest: AsyncIterator<EdgeEvent>): AsyncGenerator<TokenEvent, void> {
  for (let event = first; ; event = await nextEvent(rest)) {
    if (event.type === "verdict" || event.type === "handoff")
      throw new Error(`unexpected ${event.type} from the edge exit`);
    yield event;
    if (event.type === "end") return;
  }
}

function unavailable(why: string, cause?: OriginError): ApiError {
  return new ApiError("The model is not available right now. Please try again shortly.", {
    status: 503,
    type: "server_error",
    code: "model_unavailable",
    headers: { "retry-after": String(cause?.retryAfterSeconds || RETRY_AFTER_SECONDS) },
    cause: cause ?? new Error(why),
  });
}
