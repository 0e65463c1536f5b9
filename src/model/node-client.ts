/**
 * The engine in a worker thread: onnxruntime-node computes synchronously, so the thread that serves HTTP must not be
 * the one that runs layers. The thread owns engine and sequences; requests run interleaved, one engine step each.
 */
import type { GenerationRequest, TokenEvent } from "../generation.ts";
import type { Handoff, Numerics } from "../handoff.ts";
import type { Bundle } from "./bundle.ts";

export interface NodeEngineOptions {
  /** Folder of bundle.json. */
  readonly directory: string;
  /** Default: every exit of the bundle. */
  readonly exits?: readonly number[];
  /** Threads a single operator may use; default: one a core. */
  readonly threads?: number;
  /** Numerics accepted in handoffs besides the bundle's own. Default none. */
  readonly foreignNumerics?: readonly Numerics[];
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

  /** Ends the thread; answers under way throw. */
  close(): Promise<void>;
}

/**
 * Starts the thread, loads the bundle and warms it up.
 *
 * @throws BundleError, EngineError as `loadEngine`.
 */
export async function startNodeEngine(options: NodeEngineOptions): Promise<NodeEngine> {
  return Promise.reject(new Error(`not written yet: ${options.directory}`));
}
