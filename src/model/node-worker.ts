/** The computing thread: owns engine and sequences, answers the calls of node-protocol.ts. Started by node-client.ts. */
import { parentPort, workerData } from "node:worker_threads";
import { type BlockUse, cachedGenerate } from "../cache/cached-generation.ts";
import { PrefixCache } from "../cache/prefix-cache.ts";
import type { TokenEvent } from "../generation.ts";
import type { Handoff } from "../handoff.ts";
import { openBundle } from "./bundle.ts";
import { type Engine, loadEngine } from "./engine.ts";
import { EngineError } from "./errors.ts";
import { generate } from "./generate.ts";
import type { Answer, Call, CallMessage, Loaded, ReplyMessage, ThreadOptions } from "./node-protocol.ts";
import { toFailure } from "./node-protocol.ts";
import { folderSource } from "./node-source.ts";
import { nodeRuntime } from "./runtime-node.ts";
import { BLOCK_TOKENS } from "./segment-state.ts";
import { Sequence } from "./sequence.ts";

/** Blocks of the prompt whose reading is timed after the warm-up. */
const TIMED_BLOCKS = 4;

interface Stream {
  readonly events: AsyncGenerator<TokenEvent, unknown> | null;
  readonly cancelled: AbortController;
}

const options = workerData as ThreadOptions;
const port = parentPort;
if (port === null) throw new Error("node-worker.ts runs as a worker thread");
let loading: Promise<Engine> | null = null;
let cache: PrefixCache | null = null;
const used = { asked: 0, found: 0 };
const streams = new Map<number, Stream>();

port.on("message", ({ id, call }: CallMessage) => {
  void answer(call).then(
    (reply) => port.postMessage({ id, answer: reply } satisfies ReplyMessage, buffersOf(reply)),
    (error: unknown) => port.postMessage({ id, failure: toFailure(error) } satisfies ReplyMessage),
  );
});

async function answer(call: Call): Promise<Answer> {
  switch (call.type) {
    case "load":
      loading ??= load();
      return { type: "loaded", loaded: await describe(await loading) };
    case "open":
      open(await engine(), call);
      return { type: "done" };
    case "next":
      return { type: "event", event: await next(call.stream) };
    case "cancel":
      await cancel(call.stream);
      return { type: "done" };
    case "prefill":
      return { type: "handoff", handoff: await prefill(await engine(), call) };
    case "blocks":
      return { type: "blocks", sealed: await sealedBlocks(call) };
    case "cache":
      return { type: "cache", state: { bytes: 0, blocks: 0, evicted: 0, ...cache?.state, ...used } };
    case "close":
      await (await engine()).dispose();
      return { type: "done" };
    default:
      return call satisfies never;
  }
}

async function load(): Promise<Engine> {
  const source = folderSource(options.directory);
  const bundle = await openBundle(source);
  const runtime = nodeRuntime(options.threads === null ? {} : { threads: options.threads });
  const loaded = await loadEngine({ bundle, source, runtime, ...(options.exits && { exits: options.exits }) });
  await loaded.warmUp();
  if (options.cache !== null) cache = new PrefixCache({ bundle, ...options.cache });
  return loaded;
}

async function engine(): Promise<Engine> {
  if (loading === null) throw new EngineError("disposed", "the model is not loaded");
  return loading;
}

/** What the serving thread wants to know, the prefill rate measured. */
async function describe(engine: Engine): Promise<Loaded> {
  const tokens = Math.min(TIMED_BLOCKS * BLOCK_TOKENS, engine.bundle.shape.context_length);
  const sequence = engine.newSequence(Array.from({ length: tokens }, () => 0));
  const started = performance.now();
  await engine.advance(sequence, engine.exits.at(-1) ?? 0, tokens);
  const seconds = (performance.now() - started) / 1000;
  return { bundle: engine.bundle, exits: engine.exits, prefillTokensPerSecond: tokens / seconds };
}

function open(engine: Engine, call: Extract<Call, { type: "open" }>): void {
  const { request, handoff } = call;
  const sequence =
    handoff === null ? engine.newSequence() : Sequence.import(engine.bundle, handoff, options.foreignNumerics);
  const cancelled = new AbortController();
  const events =
    cache === null
      ? generate(engine, sequence, request, cancelled.signal)
      : cachedGenerate(engine, { cache, sources: [], onUse }, sequence, request, cancelled.signal);
  streams.set(call.stream, { events, cancelled });
}

function onUse({ asked, memory }: BlockUse): void {
  used.asked += asked;
  used.found += memory;
}

async function sealedBlocks({ names, maxBytes }: Extract<Call, { type: "blocks" }>) {
  const sealed: Uint8Array<ArrayBuffer>[] = [];
  let bytes = 0;
  for (const name of names) {
    const block = (await cache?.sealed(name)) ?? null;
    bytes += block?.length ?? 0;
    if (block === null || bytes > maxBytes) break;
    sealed.push(block);
  }
  return sealed;
}

async function next(id: number): Promise<TokenEvent | null> {
  const stream = streams.get(id);
  const result = await stream?.events?.next();
  if (result === undefined || result.done === true) {
    streams.delete(id);
    return null;
  }
  return result.value;
}

async function cancel(id: number): Promise<void> {
  const stream = streams.get(id);
  streams.delete(id);
  stream?.cancelled.abort();
  await stream?.events?.return(undefined);
}

async function prefill(engine: Engine, call: Extract<Call, { type: "prefill" }>): Promise<Handoff> {
  const cancelled = new AbortController();
  streams.set(call.stream, { events: null, cancelled });
  try {
    const sequence = engine.newSequence(call.tokenIds);
    await engine.advance(sequence, call.exit, sequence.length, cancelled.signal);
    return sequence.export(call.exit);
  } finally {
    streams.delete(call.stream);
  }
}

/** An exported state is moved, not copied, to the other thread. */
function buffersOf(answer: Answer): ArrayBuffer[] {
  if (answer.type === "blocks") return answer.sealed.map(({ buffer }) => buffer);
  if (answer.type !== "handoff") return [];
  const { inputIds, hiddenState, innerHidden, pastK, pastV } = answer.handoff;
  return [inputIds, hiddenState, ...innerHidden.values(), ...pastK, ...pastV].map(
    (array) => array.buffer as ArrayBuffer,
  );
}
