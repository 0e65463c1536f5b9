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
import type { Runtime } from "./runtime.ts";
import { Sequence } from "./sequence.ts";

export interface EngineOptions {
  readonly bundle: Bundle;
  readonly source: BundleSource;
  readonly runtime: Runtime;
  /** Exits this engine must serve; segments beyond the deepest one are not loaded. Default: all of the bundle. */
  readonly exits?: readonly number[];
}

export interface Engine {
  readonly bundle: Bundle;
  /** Exits that can be run, ascending. */
  readonly exits: readonly number[];

  /** An empty sequence, or one holding `tokenIds`. @throws EngineError `context_length`, `token_id`. */
  newSequence(tokenIds?: readonly number[]): Sequence;

  /**
   * Runs layers 1..exit for every position below `n` that lacks them, oldest first, in chunks that end at absolute
   * multiples of 32. Does nothing for positions that are computed.
   *
   * @param signal checked before each step; its reason is thrown and what is computed stays.
   * @throws EngineError `unknown_exit`, `sequence` (n beyond the sequence's tokens), `disposed`.
   */
  advance(sequence: Sequence, exit: number, n: number, signal?: AbortSignal): Promise<void>;

  /** `advance` to the end of the last whole block: for a prompt of which more is still to come. */
  feed(sequence: Sequence, exit: number, signal?: AbortSignal): Promise<void>;

  /**
   * Next-token logits at `positions`, each computed up to `exit`.
   *
   * @returns `[N, V]` row-major, owned by the caller.
   * @throws EngineError `unknown_exit`, `no_state`, `disposed`.
   */
  logits(sequence: Sequence, exit: number, positions: readonly number[]): Promise<Float32Array>;

  /**
   * Runs every session often enough for V8 to have compiled its WebAssembly with the optimising tier (the first dozens
   * of runs are about three times slower). Call it before requests are taken and before anything is measured.
   */
  warmUp(): Promise<void>;

  /** Frees every session. Calls after it throw EngineError `disposed`. */
  dispose(): Promise<void>;
}

/**
 * Loads a bundle's rim and the segments up to the deepest exit wanted, one session after another, each file verified
 * against its digest and its JavaScript copy freed as soon as the session holds it.
 *
 * @throws BundleError naming the file; EngineError `unknown_exit`. Sessions opened before a failure are freed.
 */
export async function loadEngine(options: EngineOptions): Promise<Engine> {
  return Promise.reject(new Error(`not written yet: ${options.bundle.name}`));
}
