/**
 * Single flight and replay: of equal deterministic requests of a tenant one is computed, the others are told its answer
 * as it comes, and later ones what was stored.
 */
import { sha256, toHex } from "./bytes.ts";
import type { Lead, ResponseClient } from "./cache/response-client.ts";
import type { ChatAnswer, Route, TextEvent } from "./conversation.ts";
import type { Interest } from "./interest.ts";
import { closing, leaving } from "./iteration.ts";
import type { Meter } from "./meter.ts";
import { describeError, log } from "./log.ts";
import { isDegraded } from "./policy/route.ts";

/** What is known of an answer when its first token is there. */
export interface Flown {
  readonly route: Route;
  readonly events: AsyncIterableIterator<TextEvent>;
}

export interface AnswerCache {
  readonly client: ResponseClient;
  readonly tenant: string;
  readonly key: string;
  readonly read: boolean;
  readonly store: boolean;
  /** Who wants the answer: this request's client, and those who are told it. */
  readonly interest: Interest;
}

/** What others are told of an answer: first its route, then its events. */
type Line = { readonly type: "route"; readonly route: Route } | TextEvent;

/** A name for everything that an answer depends on. */
export async function answerKey(parts: unknown): Promise<string> {
  return toHex(await sha256(new TextEncoder().encode(JSON.stringify(parts)) as Uint8Array<ArrayBuffer>));
}

/**
 * @param compute starts the answer; called unless another's is told
 * @returns `hit` when another request's answer is told. If that one is left before its end, this one is computed and
 *   goes on where the other stopped.
 */
export async function throughCache(
  cache: AnswerCache,
  compute: () => Promise<Flown>,
): Promise<Flown & { readonly cache: NonNullable<ChatAnswer["cache"]> }> {
  const entered = await enter(cache);
  if (entered === null) return { ...(await compute()), cache: "miss" };
  if (entered.role === "lead") return { ...(await led(entered.lead, cache, compute)), cache: "miss" };
  const lines = entered.lines;
  const first = await lines.next();
  const head = first.done === true ? null : (JSON.parse(first.value) as Line);
  if (head?.type !== "route") return throughCache(cache, compute); // given up before it began
  return { route: head.route, events: closing(told(lines, cache, compute), () => lines.return()), cache: "hit" };
}

/** null: the cache does not answer, which is no reason not to. */
async function enter({ client, tenant, key, read }: AnswerCache) {
  try {
    return await client.enter(tenant, key, read);
  } catch (error) {
    log("response_cache.failed", { error: describeError(error) }, "warn");
    return null;
  }
}

/** Computes, and tells the others; for them to the end, too, when this request's client is gone. */
async function led(lead: Lead, { store, interest }: AnswerCache, compute: () => Promise<Flown>): Promise<Flown> {
  const flown = compute().then(({ route, events }) => {
    lead.tell(JSON.stringify({ type: "route", route } satisfies Line));
    return { route, events, told: passOn(events, lead, store) };
  });
  const goOn = async (): Promise<void> => {
    lead.leave();
    const rest = flown.then(async ({ told }) => {
      while ((await told.next()).done !== true); // nobody here asks for it
    });
    await Promise.race([lead.ended, rest.catch(() => undefined)]);
  };
  interest.share(lead.ended, () => void goOn());
  try {
    const { route, events, told } = await flown;
    const left = async (): Promise<void> => {
      await goOn();
      lead.abandon();
      await events.return?.();
    };
    return { route, events: leaving(told, left) };
  } catch (error) {
    lead.abandon();
    throw error;
  }
}

async function* passOn(events: AsyncIterable<TextEvent>, lead: Lead, store: boolean): AsyncGenerator<TextEvent, void> {
  try {
    for await (const event of events) {
      lead.tell(JSON.stringify(event));
      if (event.type === "end" && store && !isDegraded(event.route)) lead.finish();
      yield event;
    }
  } finally {
    lead.abandon();
  }
}

/** Another's answer; when it stops before its end, the rest of one computed here. */
async function* told(
  lines: AsyncGenerator<string, void>,
  cache: AnswerCache,
  compute: () => Promise<Flown>,
): AsyncGenerator<TextEvent, void> {
  const pieces = new Map<number, number>(); // by choice: events told so far
  for await (const line of lines) {
    const event = JSON.parse(line) as TextEvent;
    yield event;
    if (event.type === "end") return;
    pieces.set(event.index, (pieces.get(event.index) ?? 0) + 1);
  }
  const { events } = await throughCache(cache, compute);
  for await (const event of events) {
    const before = event.type === "end" ? 0 : (pieces.get(event.index) ?? 0);
    if (before === 0) yield event;
    else if (event.type !== "end") pieces.set(event.index, before - 1); // was told: the answer is deterministic
  }
}

/** Counts what is told of another's answer, and states it as this request's own. */
export async function* replayed(
  events: AsyncIterable<TextEvent>,
  { tier }: Route,
  meter: Pick<Meter, "isReplay" | "replayed" | "charge">,
): AsyncGenerator<TextEvent, void> {
  const told = new Map<number, number>(); // tokens by exit
  const count = (exit: number): void => {
    meter.replayed({ exit, tier });
    told.set(exit, (told.get(exit) ?? 0) + 1);
  };
  for await (const event of events) {
    if (!meter.isReplay) {
      yield event; // computed after all
      continue;
    }
    if (event.type === "text") for (const { exit } of event.tokens) count(exit);
    if (event.type !== "end") {
      yield event;
      continue;
    }
    const { usage } = event;
    for (const [exit, tokens] of Object.entries(usage.completion_tokens_by_exit)) {
      while ((told.get(Number(exit)) ?? 0) < tokens) count(Number(exit)); // of a stop sequence
    }
    yield { ...event, usage: { ...usage, cached_tokens: usage.prompt_tokens }, charge: meter.charge() };
  }
}
