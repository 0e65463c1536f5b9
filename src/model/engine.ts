/**
 * The loaded model: sessions for the rim (embedding, final norm, head) and for each segment of layers, and the one
 * operation behind prefill, decode, resuming at layer k+1 and filling layers that an early exit left out: `advance`.
 *
 * What feeding a prompt in pieces means. Kernels round differently for different shapes, so a position's state is exact
 * only if its chunk is always the same. Chunks therefore end at absolute multiples of 32 tokens. `feed` computes whole
 * blocks and holds the rest of the prompt back until its block completes; `advance` computes up to the position asked,
 * the last chunk being what is left of its block. A prompt fed in pieces of any size and then advanced to its end has
 * gone through the very same chunks as one fed at once, hence the very same state. Positions that are advanced one at a
 * time (decoding) keep the state they got; `Sequence.retarget` drops it where a later prompt needs it exact.
 *
 * Steps. One step is one chunk through the segments it needs. The step lock is held for a step and nothing but
 * computation is awaited under it, so that a request that dies cannot leave it locked.
 */
import type { Bundle, BundleSource } from "./bundle.ts";
import { EngineError } from "./errors.ts";
import { beginTurn } from "./event-loop.ts";
import { embed, head, runSegment } from "./graph-run.ts";
import { type LoadedGraphs, loadGraphs } from "./load.ts";
import { Mutex } from "./mutex.ts";
import type { GraphSession, Runtime } from "./runtime.ts";
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
 * Loads a bundle's rim and the segments up to the deepest exit wanted, one session after another, each file verified
 * against its digest and its JavaScript copy freed as soon as the session holds it.
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
  const deepest = Math.max(...wanted);
  const segments = bundle.segments.filter((segment) => segment.last_layer <= deepest);
  return new Engine(bundle, await loadGraphs(runtime, source, bundle.rim, segments), runtime.warmUpMs);
}

export class Engine {
  readonly bundle: Bundle;
  /** Exits that can be run, ascending: all up to the deepest one loaded. */
  readonly exits: readonly number[];
  readonly #rim: GraphSession;
  readonly #segments: readonly GraphSession[];
  readonly #warmUpMs: number;
  readonly #steps = new Mutex();
  #disposed = false;

  /** Takes ownership of the sessions. Use `loadEngine`. */
  constructor(bundle: Bundle, graphs: LoadedGraphs, warmUpMs: number) {
    this.bundle = bundle;
    this.exits = bundle.exits.slice(0, graphs.segments.length);
    this.#warmUpMs = warmUpMs;
    this.#rim = graphs.rim;
    this.#segments = graphs.segments;
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
      await this.#step(() => this.#runChunk(sequence, depth, chunk));
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
    return this.#step(() => head(this.#rim, rows, width));
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
      const sequence = this.newSequence(Array.from({ length }, () => 0));
      for (let n = prompt; n <= length; n++) {
        await this.advance(sequence, deepest, n);
        await this.logits(sequence, deepest, [n - 1]);
      }
      await beginTurn(); // a Worker's clock moves only across I/O
    } while (performance.now() - started < this.#warmUpMs);
  }

  /** Frees every session, after the step under way. Calls after it throw EngineError `disposed`. */
  async dispose(): Promise<void> {
    if (this.#disposed) return;
    this.#disposed = true;
    await this.#steps.run(async () => {
      for (const session of [this.#rim, ...this.#segments]) await session.dispose();
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

  /** Brings the first `depth` segments to position `end`; what lacks lies in one block. */
  async #runChunk(sequence: Sequence, depth: number, end: number): Promise<void> {
    for (let segment = 0; segment < depth; segment++) {
      const start = sequence.computed(segment);
      if (start >= end) continue;
      const hidden =
        segment === 0 ? await embed(this.#rim, sequence, start, end) : sequence.hidden(segment - 1, start, end);
      const session = this.#segments[segment];
      if (session === undefined) throw new RangeError(`segment ${segment} is not loaded`);
      await runSegment(session, sequence, segment, { start, end, hidden });
    }
  }
}

/** Where the next chunk ends: `n` or the end of the oldest block that lacks a segment. null: nothing lacks. */
function chunkEnd(sequence: Sequence, depth: number, n: number): number | null {
  let oldest = n;
  for (let segment = 0; segment < depth; segment++) oldest = Math.min(oldest, sequence.computed(segment));
  return oldest < n ? Math.min(n, blockFloor(oldest) + BLOCK_TOKENS) : null;
}
