/**
 * The engine in a worker thread: onnxruntime-node computes synchronously, so the thread that serves HTTP must not be
 * the one that runs layers. The thread owns engine and sequences; requests run interleaved, one engine step each.
 */
import { fileURLToPath } from "node:url";
import { Worker } from "node:worker_threads";
import type { GenerationRequest, TokenEvent } from "../generation.ts";
import type { Handoff, Numerics } from "../handoff.ts";
import type { Bundle } from "./bundle.ts";
import { EngineError } from "./errors.ts";
import {
  type Answer,
  type BlockName,
  type CacheState,
  type Call,
  type CallMessage,
  fromFailure,
  type ReplyMessage,
  type ThreadOptions,
} from "./node-protocol.ts";

export interface NodeEngineOptions {
  /** Folder of bundle.json. */
  readonly directory: string;
  /** Default: every exit of the bundle. */
  readonly exits?: readonly number[];
  /** Threads a single operator may use; default: one a core. */
  readonly threads?: number;
  /** Numerics accepted in handoffs besides the bundle's own. Default none. */
  readonly foreignNumerics?: readonly Numerics[];
  /** Keeps blocks of prompts for later ones. Default: none. */
  readonly cache?: NonNullable<ThreadOptions["cache"]>;
}

export interface NodeEngine {
  readonly bundle: Bundle;
  /** Exits that can be run, ascending. */
  readonly exits: readonly number[];
  /** Measured while warming up at the deepest exit: prompt tokens per second. */
  readonly prefillTokensPerSecond: number;

  /**
   * As `generate` in generate.ts; a token is computed when it is asked for, so a reader that stops, stops the compute.
   *
   * @param handoff state to resume from; its buffers are copied, not taken.
   * @throws HandoffError (before the first event), EngineError, the signal's reason.
   */
  generate(request: GenerationRequest, signal: AbortSignal, handoff?: Handoff): AsyncGenerator<TokenEvent, void>;

  /** Reads a prompt up to `exit` and returns its state. */
  prefill(tokenIds: readonly number[], exit: number, signal: AbortSignal): Promise<Handoff>;

  /** The leading ones of these blocks that the thread's cache holds, sealed, no more than `maxBytes` of them. */
  blocks(names: readonly BlockName[], maxBytes: number): Promise<readonly Uint8Array<ArrayBuffer>[]>;

  /** What the thread's cache holds and has given. */
  cacheState(): Promise<CacheState>;

  /** Ends the thread; answers under way throw. */
  close(): Promise<void>;
}

/**
 * Starts the thread, loads the bundle and warms it up.
 *
 * @throws BundleError, EngineError as `loadEngine`.
 */
export async function startNodeEngine(options: NodeEngineOptions): Promise<NodeEngine> {
  const thread = new Thread({
    directory: options.directory,
    exits: options.exits ?? null,
    threads: options.threads ?? null,
    foreignNumerics: options.foreignNumerics ?? [],
    cache: options.cache ?? null,
  });
  try {
    const answer = await thread.call({ type: "load" });
    if (answer.type !== "loaded") throw new TypeError(`the thread answered ${answer.type}`);
    return {
      ...answer.loaded,
      generate: (request, signal, handoff) => generateIn(thread, request, signal, handoff ?? null),
      prefill: (tokenIds, exit, signal) => prefillIn(thread, tokenIds, exit, signal),
      blocks: (names, maxBytes) => blocksOf(thread, names, maxBytes),
      cacheState: () => cacheStateOf(thread),
      close: () => thread.close(),
    };
  } catch (error) {
    await thread.close();
    throw error;
  }
}

async function* generateIn(
  thread: Thread,
  request: GenerationRequest,
  signal: AbortSignal,
  handoff: Handoff | null,
): AsyncGenerator<TokenEvent, void> {
  const stream = thread.newStream();
  try {
    await thread.cancellable({ type: "open", stream, request, handoff }, stream, signal);
    for (;;) {
      const answer = await thread.cancellable({ type: "next", stream }, stream, signal);
      if (answer.type !== "event" || answer.event === null) return;
      yield answer.event;
    }
  } finally {
    thread.cancel(stream);
  }
}

async function prefillIn(thread: Thread, tokenIds: readonly number[], exit: number, signal: AbortSignal) {
  const stream = thread.newStream();
  const answer = await thread.cancellable({ type: "prefill", stream, tokenIds, exit }, stream, signal);
  if (answer.type !== "handoff") throw new TypeError(`the thread answered ${answer.type}`);
  return answer.handoff;
}

async function blocksOf(thread: Thread, names: readonly BlockName[], maxBytes: number) {
  const answer = await thread.call({ type: "blocks", names, maxBytes });
  if (answer.type !== "blocks") throw new TypeError(`the thread answered ${answer.type}`);
  return answer.sealed;
}

async function cacheStateOf(thread: Thread): Promise<CacheState> {
  const answer = await thread.call({ type: "cache" });
  if (answer.type !== "cache") throw new TypeError(`the thread answered ${answer.type}`);
  return answer.state;
}

interface Waiting {
  readonly resolve: (answer: Answer) => void;
  readonly reject: (error: unknown) => void;
}

/** Calls and replies. A thread that dies rejects every call that waits, and every later one. */
class Thread {
  readonly #worker: Worker;
  readonly #waiting = new Map<number, Waiting>();
  #calls = 0;
  #streams = 0;
  #dead: Error | null = null;

  constructor(options: ThreadOptions) {
    this.#worker = new Worker(fileURLToPath(new URL("./node-worker.ts", import.meta.url).href), {
      workerData: options,
    });
    this.#worker.on("message", (reply: ReplyMessage) => this.#settle(reply));
    this.#worker.on("error", (error) => this.#die(error));
    this.#worker.on("exit", () => this.#die(new EngineError("disposed", "the engine's thread has ended")));
  }

  newStream(): number {
    return this.#streams++;
  }

  call(call: Call): Promise<Answer> {
    if (this.#dead !== null) return Promise.reject(this.#dead);
    const { promise, resolve, reject } = Promise.withResolvers<Answer>();
    const id = this.#calls++;
    this.#waiting.set(id, { resolve, reject });
    this.#worker.postMessage({ id, call } satisfies CallMessage);
    return promise;
  }

  /** A call that `signal` cuts short: the thread stops within one step, the reason is thrown at once. */
  async cancellable(call: Call, stream: number, signal: AbortSignal): Promise<Answer> {
    signal.throwIfAborted();
    const aborted = Promise.withResolvers<never>();
    const onAbort = (): void => {
      this.cancel(stream);
      aborted.reject(signal.reason);
    };
    signal.addEventListener("abort", onAbort, { once: true });
    try {
      return await Promise.race([this.call(call), aborted.promise]);
    } finally {
      signal.removeEventListener("abort", onAbort);
    }
  }

  /** Nobody waits for it, and of a dead thread nothing is left to cancel. */
  cancel(stream: number): void {
    this.call({ type: "cancel", stream }).catch(() => undefined);
  }

  async close(): Promise<void> {
    await this.call({ type: "close" }).catch(() => undefined); // of a dead or empty thread nothing is left to free
    await this.#worker.terminate();
  }

  #settle(reply: ReplyMessage): void {
    const waiting = this.#waiting.get(reply.id);
    this.#waiting.delete(reply.id);
    if ("answer" in reply) waiting?.resolve(reply.answer);
    else waiting?.reject(fromFailure(reply.failure));
  }

  #die(error: Error): void {
    this.#dead ??= error;
    for (const waiting of this.#waiting.values()) waiting.reject(this.#dead);
    this.#waiting.clear();
  }
}
