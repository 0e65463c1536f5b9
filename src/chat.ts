/** THE FLOW: one request from accepted to answered, each step one call (docs/architecture.md). */
import { answerKey, replayed, throughCache, type AnswerCache, type Flown } from "./answer-cache.ts";
import type { ChatDeps } from "./chat-deps.ts";
import { joinChoices } from "./choices.ts";
import type { Charge, ChatAnswer, ChatRequest, ChoiceEvent, Prompt, Route } from "./conversation.ts";
import { decide, deploymentOf } from "./decide.ts";
import { exitsAsked, type ExitsAsked } from "./exits.ts";
import type { GenerationRequest } from "./generation.ts";
import { Interest } from "./interest.ts";
import { closing } from "./iteration.ts";
import { createDetokenizer } from "./model/detokenizer.ts";
import { reserve, type Payer, type Payment } from "./payment.ts";
import { ofChoice, planGeneration } from "./plan.ts";
import { decidedAlready } from "./policy/route.ts";
import { beginsShared, encodingPrompt, sharedTokens, type EncodedPrompt } from "./prompt.ts";
import { serve, type Plan, type Served } from "./serve.ts";
import { inSpan } from "./telemetry/span.ts";
import { textStream } from "./text-stream.ts";

/**
 * Answers one request. Resolves when the first choice's exit is decided and its first token is there.
 * @param payer who was authenticated, and pays
 * @param gone aborted when the client is gone
 * @throws ApiError for everything the client may be told
 */
export async function chat(deps: ChatDeps, payer: Payer, request: ChatRequest, gone: AbortSignal): Promise<ChatAnswer> {
  const { bundle } = deps.catalogue;
  const asked = exitsAsked(request, payer.caller, deploymentOf(deps));
  const { tenant, cacheEpoch } = payer.caller;
  const scope = `${tenant}/${cacheEpoch}`;
  const read: ReadPrompt[] = [];
  for (const [at, prompt] of request.prompts.entries()) {
    read.push(await readPrompt(deps, request, prompt, at, { tenant, scope, gone }));
  }
  const bill = {
    generations: read.map(({ generation }) => generation),
    exits: asked.payable,
    deepest: Math.max(...bundle.exits),
    exitFixed: asked.policy.kind === "fixed",
  };
  const payment = await inSpan("reserve", {}, () => reserve(payer, request, bill));
  const { meter } = payment;
  const charge = (): Charge => meter.charge();
  const interest = new Interest(gone);
  async function compute(): Promise<Flown> {
    meter.endReplay();
    const abandoned = new AbortController();
    const signal = AbortSignal.any([interest.over, abandoned.signal, meter.lost]);
    const running = { deps, request, asked, payment, signal };
    const [openFirst, ...openOthers] = read.flatMap((prompt) => choicesOf(running, prompt));
    if (openFirst === undefined) throw new Error("a request without prompts or choices");
    const first = await openFirst();
    const openers = [async () => first, ...openOthers].map((open) => async () => (await open()).events);
    const events = joinChoices(openers, request.choices, charge, () => abandoned.abort());
    return { route: first.route, events: closing(events, async () => first.events.return?.()) };
  }
  try {
    const cache = await answerCache(deps, payer, request, { asked, read, payment, scope, interest });
    const { cache: found, ...flown } =
      cache === null ? { ...(await compute()), cache: undefined } : await throughCache(cache, compute);
    if (found === "hit") meter.startReplay(flown.route);
    const told = found === "hit" ? replayed(flown.events, flown.route, meter) : null;
    const events = told === null ? flown.events : closing(told, async () => flown.events.return?.());
    return {
      model: bundle.name,
      route: flown.route,
      promptTokens: read.reduce((sum, { prompt }) => sum + prompt.tokenIds.length, 0),
      ...(found && { cache: found }),
      headers: payment.headers,
      charge,
      events: meter.settling(events, interest.over),
    };
  } catch (error) {
    // A client that leaves pays for the prompt that was being read; one that we fail pays nothing.
    await (gone.aborted ? meter.settle() : meter.release());
    throw error;
  }
}

/** What is known of a request before it is computed. */
interface Known {
  readonly asked: ExitsAsked;
  readonly read: readonly ReadPrompt[];
  readonly payment: Payment;
  readonly scope: string;
  readonly interest: Interest;
}

/** Where an equal request's answer may be; null: nowhere. Its key names all that the answer depends on. */
async function answerCache(
  { responses, catalogue: { bundle } }: ChatDeps,
  { caller }: Payer,
  { caching, sampling, stop, choices, topLogprobs, earlyExit }: ChatRequest,
  { asked, read, payment, scope, interest }: Known,
): Promise<AnswerCache | null> {
  if (responses === null || caching === undefined || !(caching.read || caching.store)) return null;
  const { maxExit, maxTokens } = payment;
  const key = await answerKey([
    [bundle.fingerprint, bundle.numerics, bundle.router?.sha256, scope, asked, maxExit, maxTokens],
    [sampling.temperature === 0 ? { ...sampling, seed: 0 } : sampling, stop, choices, topLogprobs, earlyExit],
    read.map(({ prompt, generation }) => [prompt.param, prompt.startsText, prompt.tokenIds, generation.max_tokens]),
  ]);
  return { client: responses, tenant: caller.tenant, key, ...caching, interest };
}

/** One prompt as token ids, and the generation that its choices have in common. */
interface ReadPrompt {
  /** The prompt's. */
  readonly index: number;
  readonly prompt: EncodedPrompt;
  readonly generation: Omit<GenerationRequest, "exit_layer">;
}

/** Who has a prompt read. */
interface Reader {
  readonly tenant: string;
  /** Whose blocks it reads and leaves. */
  readonly scope: string;
  readonly gone: AbortSignal;
}

/** Reads a prompt in its tenant's turns. @throws ApiError 400: what cannot be encoded, or does not fit */
async function readPrompt(
  { catalogue, turns, settings: { sharedSystemPrompts } }: ChatDeps,
  request: ChatRequest,
  asked: Prompt,
  index: number,
  { tenant, scope, gone }: Reader,
): Promise<ReadPrompt> {
  const prompt = await turns.run(tenant, encodingPrompt(catalogue, asked), gone);
  const shared = await beginsShared(prompt, sharedSystemPrompts);
  const cache = {
    scope,
    shared_tokens: shared ? await turns.run(tenant, sharedTokens(catalogue, prompt), gone) : 0,
    continued: prompt.messages.some(({ role }) => role === "assistant"),
  };
  return { index, prompt, generation: { ...planGeneration(catalogue.bundle, request, prompt), cache } };
}

/** What all choices of a request share once it is paid. */
interface Running {
  readonly deps: ChatDeps;
  readonly request: ChatRequest;
  readonly asked: ExitsAsked;
  readonly payment: Payment;
  readonly signal: AbortSignal;
}

interface Choice {
  readonly route: Route;
  readonly events: AsyncIterableIterator<ChoiceEvent>;
}

/** An answer under way, and who speaks now: gate 3 may have moved it. */
interface Watched extends Served {
  readonly current: () => Route;
}

/** Openers of a prompt's choices. The gates decide for the first; the others go where it was served. */
function choicesOf(running: Running, read: ReadPrompt): (() => Promise<Choice>)[] {
  const { deps, request, payment, signal } = running;
  const { meter } = payment;
  const limits = { maxExit: payment.maxExit, earlyExit: request.earlyExit };
  const plan = inSpan("gate.prompt", {}, () => decide(deps, request.requestId, running.asked, read.prompt, limits));
  const generation = { ...read.generation, max_tokens: Math.min(read.generation.max_tokens, payment.maxTokens) };
  async function readAndServe(): Promise<Watched> {
    meter.startReading(read.index, plan.decision);
    const served = await watched(generation, plan, (to) => meter.startReading(read.index, to));
    meter.startReading(read.index, served.route);
    return served;
  }
  async function watched(of: typeof generation, by: Plan, onMove: (to: Route) => void): Promise<Watched> {
    let now: Route | null = null;
    const served = await serve(deps, of, by, signal, (to) => onMove((now = to)));
    return { ...served, current: () => now ?? served.route };
  }
  let first: Promise<Watched> | null = null;
  const serveFirst = (): Promise<Watched> => (first ??= readAndServe());
  const serveAnother = async (choice: number): Promise<Watched> => {
    const { route } = await serveFirst();
    const already = decidedAlready(route);
    return watched(ofChoice(generation, choice), { ...plan, decision: already }, () => undefined);
  };
  return Array.from({ length: request.choices }, (_, choice) => async () => {
    const served = await (choice === 0 ? serveFirst() : serveAnother(choice));
    const noted = (route: Route): Route => ({ ...route, reason: route.reason + payment.note });
    const counting = {
      tier: () => served.current().tier,
      reads: choice === 0 ? read.index : null,
    };
    const tokens = meter.count(served.tokens, counting);
    const current = (): Route => noted(served.current());
    return { route: noted(served.route), events: choiceText(running, read.prompt, { ...served, current, tokens }) };
  });
}

function choiceText(
  { deps, request: { stop } }: Running,
  { tokenIds, startsText }: EncodedPrompt,
  { tokens, current }: Watched,
): AsyncIterableIterator<ChoiceEvent> {
  const { tokenizer } = deps.catalogue;
  return textStream(tokens, {
    detokenizer: createDetokenizer(tokenizer, startsText),
    bytesOf: (id) => tokenizer.bytesOf(id),
    stop,
    route: current,
    promptTokens: tokenIds.length,
  });
}
