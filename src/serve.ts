/**
 * Carries a decision out: which tier is asked, what happens when gate 2 hands off, and what when a tier cannot.
 * The only place where tiers are chosen between; everything after it is tier-blind.
 */
import type { Route } from "./conversation.ts";
import type { EdgeClient } from "./edge/client.ts";
import type { EdgeEvent } from "./edge/job.ts";
import type { Settings } from "./env.ts";
import { ApiError } from "./errors.ts";
import type { GenerationRequest, TokenEvent } from "./generation.ts";
import type { Handoff } from "./handoff.ts";
import { log } from "./log.ts";
import type { OriginClient } from "./origin/client.ts";
import { OriginError } from "./origin/origin-error.ts";
import { type Chosen, type Circumstances, degraded, isDegraded, type PromptDecision } from "./policy/route.ts";
import type { ExitPolicy } from "./policy/selection.ts";
import { earlyExit, edgeJob } from "./jobs.ts";
import { nextEvent, shardTokens, withCachedAtMost } from "./shard-tokens.ts";
import { afterTokens } from "./plan.ts";
import type { TierHealth } from "./tier-health.ts";

/** Seconds after which a client may try again when no tier can say: about one cold load of the edge exit. */
const RETRY_AFTER_SECONDS = 5;

export interface ServeDeps {
  readonly edge: EdgeClient;
  readonly origin: OriginClient | null;
  readonly health: TierHealth;
  readonly settings: Pick<Settings, "handoffs">;
}

export interface Plan {
  readonly decision: PromptDecision;
  /** Gate 1 asked again when a tier turns out not to answer. */
  readonly decide: (now: Circumstances) => PromptDecision;
  readonly policy: ExitPolicy;
  /** How sure an exit of the origin must be of a token to make it; null: none but the one chosen makes any. */
  readonly earlyExit: number | null;
  /** A target whose verdicts are logged and change nothing; null: none. */
  readonly shadow: Chosen | null;
  readonly circumstances: Circumstances;
}

/** Tokens under way, and who makes them. */
export interface Served {
  readonly route: Route;
  readonly tokens: AsyncIterable<TokenEvent>;
}

type Generation = Omit<GenerationRequest, "exit_layer">;

/** Told when another exit goes on with an answer. */
export type Moved = (to: Route) => void;

/**
 * Resolves with the first token computed, so that a failing tier can still be replaced.
 * @param moved called while the tokens are read
 * @throws ApiError 503 when no tier can answer; the signal's reason
 */
export async function serve(
  deps: ServeDeps,
  generation: Generation,
  plan: Plan,
  signal: AbortSignal,
  moved: Moved,
): Promise<Served> {
  const { decision } = plan;
  if (decision.tier === "origin") {
    const state = await storedAtEdge(deps, { ...generation, exit_layer: decision.exit }, signal);
    return serveAtOrigin(deps, generation, decision, plan, state, signal);
  }
  return serveAtEdge(deps, generation, decision, plan, signal, moved);
}

/** Of a conversation that the edge has answered before: its blocks. */
async function storedAtEdge({ edge, origin, settings }: ServeDeps, request: GenerationRequest, signal: AbortSignal) {
  if (origin === null || settings.handoffs === "never" || request.cache?.continued !== true) return null;
  return edge.stored(request, signal);
}

async function serveAtEdge(
  deps: ServeDeps,
  generation: Generation,
  route: PromptDecision,
  plan: Plan,
  signal: AbortSignal,
  moved: Moved,
): Promise<Served> {
  const opening = await openEdge(deps, generation, route, plan.shadow, signal);
  if (!opening.ok) {
    if (deps.origin === null) throw unavailable(opening.reason);
    const edge = opening.reason === "edge-full" ? "full" : "unavailable";
    const { exit, reason } = plan.decide({ ...plan.circumstances, edge });
    const spilled: Route = { exit, tier: "origin", reason: `${reason}; spilled=${opening.reason}` };
    return serveAtOrigin(deps, generation, spilled, plan, null, signal);
  }
  const { first, rest } = opening;
  // Among the edge's exits alone, a later gate's verdict is what is left of the router's, too.
  const marked = (to: Route): Route => (isDegraded(route) ? degraded(to) : to);
  const tell: Moved = (to) => moved(marked(to));
  const follow = (begun: EdgeEvent): AsyncIterable<TokenEvent> => shardTokens(begun, rest, { moved: tell, goOn });
  async function goOn(handoff: Handoff, sent: readonly number[], to: Route): Promise<AsyncIterable<TokenEvent>> {
    const served = await serveAtOrigin(deps, afterTokens(generation, sent), to, plan, { handoff }, signal);
    moved(served.route);
    return served.tokens;
  }
  if (first.type !== "verdict") return { route, tokens: follow(first) };
  const decided = marked({ exit: first.exit, tier: "edge", reason: first.reason });
  const second = await nextEvent(rest);
  if (second.type !== "handoff") return { route: decided, tokens: follow(second) };
  await rest.return?.(); // the shard's part is done: its place is free for others
  const escalated: Route = { exit: first.exit, tier: "origin", reason: first.reason };
  const served = await serveAtOrigin(deps, generation, escalated, plan, second, signal);
  return { ...served, tokens: withCachedAtMost(first.handoff?.usage.cached_tokens ?? 0, served.tokens) };
}

type Opening =
  | { readonly ok: true; readonly first: EdgeEvent; readonly rest: AsyncIterator<EdgeEvent> }
  | { readonly ok: false; readonly reason: string };

/** Starts the job at a shard and waits for its first event: until then another tier can still take over. */
async function openEdge(
  deps: ServeDeps,
  generation: Generation,
  route: PromptDecision,
  shadow: Chosen | null,
  signal: AbortSignal,
): Promise<Opening> {
  const failed = (reason: string, message: string): Opening => {
    log("edge.failed", { request_id: generation.request_id, reason, message });
    return { ok: false, reason };
  };
  const outcome = await deps.edge.run(edgeJob({ ...generation, exit_layer: route.exit }, route.later, shadow), signal);
  if (!outcome.ok) {
    deps.health.edgeRefused(outcome.reason, Date.now());
    return failed(outcome.reason, outcome.message);
  }
  const rest = outcome.events[Symbol.asyncIterator]();
  try {
    const first = await nextEvent(rest);
    deps.health.edgeAnswered();
    return { ok: true, first, rest };
  } catch (error) {
    signal.throwIfAborted();
    return failed("edge-failed", String(error));
  }
}

async function serveAtOrigin(
  deps: ServeDeps,
  generation: Generation,
  route: Route,
  plan: Plan,
  state: { readonly handoff: Handoff; readonly spared?: number } | null,
  signal: AbortSignal,
): Promise<Served> {
  try {
    if (deps.origin === null) throw new OriginError("unreachable", "no origin is configured");
    const request = {
      ...generation,
      exit_layer: route.exit,
      ...earlyExit(plan.earlyExit, plan.circumstances.exits, route.exit),
    };
    const { exit, tier, reason } = route;
    const tokens = await deps.origin.generate(request, state?.handoff ?? null, signal, state?.spared);
    deps.health.originAnswered();
    return { route: { exit, tier, reason }, tokens };
  } catch (error) {
    signal.throwIfAborted();
    if (!(error instanceof OriginError)) throw error;
    deps.health.originFailed(error.kind, Date.now());
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
  const route = degraded({ exit, tier: "edge", reason: `origin=${error.kind}` });
  const opening = await openEdge(deps, generation, { ...route, later: null }, null, signal);
  if (!opening.ok) throw unavailable(opening.reason, error);
  return { route, tokens: shardTokens(opening.first, opening.rest, null) };
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
