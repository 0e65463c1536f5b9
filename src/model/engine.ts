/**
 * The loaded model, and the one operation behind prefill, decode, resuming at layer k+1 and filling layers that an
 * early exit left out: `advance`.
 *
 * What feeding a prompt in pieces means. Kernels round differently for different shapes, so a position's state is exact
 * only if its chunk is always the same. Chunks therefore end at absolute multiples of 32 tokens. `feed` computes whole
 * blocks and holds the rest of the prompt back until its block completes; `advance` computes up to the position asked,
 * the last chunk being what is left of its block. A prompt fed in pieces of any size and then advanced to its end has
 * gone through the very same chunks as one fed at once, hence the very same state. Positions that are advanced one at a
 * time (decoding) keep the state they got.
 *
 * Steps. One step is one chunk through the segments it needs. The step lock is held for a step and nothing but
 * computation is awaited under it, so that a request that dies cannot leave it locked.
 */
import type { Bundle, BundleSource } from "./bundle.ts";
import { EngineError } from "./errors.ts";
import { beginTurn } from "./event-loop.ts";
import { loadNetwork } from "./load.ts";
import { Mutex } from "./mutex.ts";
import type { Network } from "./network.ts";
import type { Runtime } from "./runtime.ts";
import { BLOCK_TOKENS, blockFloor } from "./segment-state.ts";
import { Sequence } from "./sequence.ts";

/** Blocks read and tokens decoded by one round of the warm-up: both shapes of run get their share. */
const WARM_UP_BLOCKS = 2;
const WARM_UP_TOKENS = 16;

export interface EngineOptions {
  readonly bundle: Bundle;
  readonly source: BundleSource;
  readonly runtime: Runtime;
  /** Exits this engine must serve; segments beyond the deepest one are not loaded. Default: all of the bundle. */
  readonly exits?: readonly number[];
}

/**
 * Loads a bundle's network up to the deepest exit wanted, one session after another, each file verified against its
 * digest and its JavaScript copy freed as soon as the session holds it.
 *
 * @throws BundleError naming the file; EngineError `unknown_exit`. Sessions opened before a failure are freed.
 */
export async function loadEngine(options: EngineOptions): Promise<Engine> {
  const { bundle, source, runtime } = options;
  const wanted = options.exits ?? bundle.exits;
  const unknown = wanted.find((exit) => !bundle.exits.includes(exit));
  if (wanted.length === 0 || unknown !== undefined) {
    const asked = unknown === undefined ? "no exit" : `layer ${unknown}`;
    throw new EngineError("unknown_exit", `${asked} was asked for; the bundle's exits are ${bundle.exits.join(", ")}`);
  }
  const depth = bundle.exits.indexOf(Math.max(...wanted)) + 1;
  return new Engine(bundle, await loadNetwork(runtime, source, bundle, depth), runtime.warmUpMs);
}

export class Engine {
  readonly bundle: Bundle;
  /** Exits that can be run, ascending: all up to the deepest one loaded. */
  readonly exits: readonly number[];
  readonly #network: Network;
  readonly #warmUpMs: number;
  readonly #steps = new Mutex();
  #disposed = false;

  /** Takes ownership of the network. Use `loadEngine`. */
  constructor(bundle: Bundle, network: Network, warmUpMs: number) {
    this.bundle = bundle;
    this.exits = bundle.exits.slice(0, network.depth);
    this.#warmUpMs = warmUpMs;
    this.#network = network;
  }

  /** An empty sequence, or one holding `tokenIds`. @throws EngineError `context_length`, `token_id`. */
  newSequence(tokenIds: readonly number[] = []): Sequence {
    const sequence = new Sequence(this.bundle);
    sequence.append(tokenIds);
    return sequence;
  }

  /**
   * Runs layers 1..exit for every position below `n` that lacks them, oldest first, in chunks that end at absolute
   * multiples of 32. Does nothing for positions that are computed.
   *
   * @param signal checked before each step; its reason is thrown and what is computed stays.
   * @throws EngineError `unknown_exit`, `sequence` (n beyond the sequence's tokens), `disposed`.
   */
  async advance(sequence: Sequence, exit: number, n: number, signal?: AbortSignal): Promise<void> {
    const depth = this.#depth(exit);
    if (n > sequence.length) throw new EngineError("sequence", `cannot advance ${sequence.length} tokens to ${n}`);
    for (let end = chunkEnd(sequence, depth, n); end !== null;) {
      signal?.throwIfAborted();
      const chunk = end;
      const next = chunk < n ? beginTurn() : null; // the last chunk leaves the turn to its caller
      await this.#step(() => this.#runChunk(sequence, depth, chunk, false));
      await next;
      end = chunkEnd(sequence, depth, n);
    }
  }

  /** `advance` to the end of the last whole block: for a prompt of which more is still to come. */
  async feed(sequence: Sequence, exit: number, signal?: AbortSignal): Promise<void> {
    await this.advance(sequence, exit, blockFloor(sequence.length), signal);
  }

  /**
   * Next-token logits at `positions`, each computed up to `exit`.
   *
   * @returns `[N, V]` row-major, owned by the caller.
   * @throws EngineError `unknown_exit`, `no_state`, `disposed`.
   */
  async logits(sequence: Sequence, exit: number, positions: readonly number[]): Promise<Float32Array> {
    const width = this.bundle.shape.hidden_size;
    const segment = this.#depth(exit) - 1;
    const rows = new Float32Array(positions.length * width); // [N, d]
    for (const [row, position] of positions.entries()) {
      rows.set(sequence.hidden(segment, position, position + 1), row * width);
    }
    return this.#step(() => this.#network.head(rows));
  }

  /**
   * `advance` to the sequence's end, and next-token logits there: one step where one token is lacking.
   *
   * @returns `[V]`, owned by the caller.
   * @throws EngineError `unknown_exit`, `no_state`, `disposed`; the signal's reason.
   */
  async next(sequence: Sequence, exit: number, signal?: AbortSignal): Promise<Float32Array> {
    const depth = this.#depth(exit);
    const [last, end] = [sequence.length - 1, sequence.length];
    if (oldestLacking(sequence, depth, end) === last) {
      signal?.throwIfAborted();
      const logits = await this.#step(() => this.#runChunk(sequence, depth, end, true));
      if (logits !== null) return logits;
    }
    await this.advance(sequence, exit, end, signal);
    return this.logits(sequence, exit, [last]);
  }

  /**
   * Runs every session as long as the runtime still becomes faster (V8 compiles WebAssembly twice), at least once. Call
   * it before requests are taken and before anything is measured.
   */
  async warmUp(): Promise<void> {
    const deepest = this.exits.at(-1) ?? 0;
    const prompt = Math.min(WARM_UP_BLOCKS * BLOCK_TOKENS, this.bundle.shape.context_length - 1);
    const length = Math.min(prompt + WARM_UP_TOKENS, this.bundle.shape.context_length);
    const started = performance.now();
    do {
      const sequence = this.newSequence(Array.from({ length: prompt }, () => 0));
      for (let n = prompt; n <= length; n++) {
        await this.next(sequence, deepest);
        if (n < length) sequence.append([0]);
      }
      await beginTurn(); // a Worker's clock moves only across I/O
    } while (performance.now() - started < this.#warmUpMs);
  }

  /** Frees every session, after the step under way. Calls after it throw EngineError `disposed`. */
  async dispose(): Promise<void> {
    if (this.#disposed) return;
    this.#disposed = true;
    await this.#steps.run(async () => {
      await this.#network.dispose();
    });
  }

  /** Runs `work` as one step: alone on the sessions. */
  async #step<T>(work: () => Promise<T>): Promise<T> {
    return this.#steps.run(async () => {
      if (this.#disposed) throw new EngineError("disposed", "the engine was disposed");
      return work();
    });
  }

  /** Number of segments that make up layers 1..exit. */
  #depth(exit: number): number {
    const index = this.exits.indexOf(exit);
    if (index < 0) throw new EngineError("unknown_exit", `exit ${exit} is not loaded (${this.exits.join(", ")} are)`);
    return index + 1;
  }

  /**
   * Brings the first `depth` segments to position `end`; what lacks lies in one block. Segments that lack the same go
   * together.
   *
   * @returns logits `[T, V]` of the last ones that ran, where they are wanted; null where none had to.
   */
  async #runChunk(sequence: Sequence, depth: number, end: number, wantsLogits: boolean): Promise<Float32Array | null> {
    let logits: Float32Array | null = null;
    for (let first = 0; first < depth; first++) {
      const start = sequence.computed(first);
      if (start >= end) continue;
      let last = first;
      while (last + 1 < depth && sequence.computed(last + 1) === start) last++;
      logits = await this.#network.run(sequence, { first, last, start, end }, wantsLogits && last === depth - 1);
      first = last;
    }
    return logits;
  }
}

/** The first position below `n` that lacks a segment; `n` where none does. */
function oldestLacking(sequence: Sequence, depth: number, n: number): number {
  let oldest = n;
  for (let segment = 0; segment < depth; segment++) oldest = Math.min(oldest, sequence.computed(segment));
  return oldest;
}

/** Where the next chunk ends: `n` or the end of the oldest block that lacks a segment. null: nothing lacks. */
function chunkEnd(sequence: Sequence, depth: number, n: number): number | null {
  const oldest = oldestLacking(sequence, depth, n);
  return oldest < n ? Math.min(n, blockFloor(oldest) + BLOCK_TOKENS) : null;
}
