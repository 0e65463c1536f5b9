/** Messages between the thread that serves and the thread that computes. Every call gets one reply, in any order. */
import type { GenerationRequest, TokenEvent } from "../generation.ts";
import type { Handoff, Numerics } from "../handoff.ts";
import type { Bundle } from "./bundle.ts";
import {
  BundleError,
  type BundleFault,
  EngineError,
  type EngineFault,
  HandoffError,
  type HandoffFault,
} from "./errors.ts";
import type { StateDtype } from "../state-dtype.ts";

/** `workerData` of the thread. */
export interface ThreadOptions {
  readonly directory: string;
  readonly exits: readonly number[] | null;
  readonly threads: number | null;
  readonly foreignNumerics: readonly Numerics[];
  /** null: every prompt is read anew. */
  readonly cache: { readonly maxBytes: number; readonly ttlMs: number; readonly dtype: StateDtype } | null;
}

/** A block of one segment, as the cache of the thread names it. */
export interface BlockName {
  readonly scope: string;
  readonly key: string;
  readonly lastLayer: number;
}

export type Call =
  /** Answers with the bundle once the model is loaded and warm. */
  | { readonly type: "load" }
  /** Opens stream `stream`; nothing is computed yet. */
  | {
      readonly type: "open";
      readonly stream: number;
      readonly request: GenerationRequest;
      readonly handoff: Handoff | null;
    }
  /** Computes the next event of a stream. */
  | { readonly type: "next"; readonly stream: number }
  /** Stops a stream within one step and forgets it; of an unknown stream, nothing. */
  | { readonly type: "cancel"; readonly stream: number }
  /** Reads a prompt; `stream` only serves to cancel it. */
  | { readonly type: "prefill"; readonly stream: number; readonly tokenIds: readonly number[]; readonly exit: number }
  /** Answers with the leading ones of these blocks that the cache holds, sealed; no more than `maxBytes` of them. */
  | { readonly type: "blocks"; readonly names: readonly BlockName[]; readonly maxBytes: number }
  /** Answers with what the cache holds and has given. */
  | { readonly type: "cache" }
  /** Frees the model after the step under way: only then can the thread be ended without the runtime crashing. */
  | { readonly type: "close" };

export interface Loaded {
  readonly bundle: Bundle;
  readonly exits: readonly number[];
  readonly prefillTokensPerSecond: number;
}

/** Of a thread's prefix cache; nothing where it has none. A block is one segment's. */
export interface CacheState {
  readonly bytes: number;
  readonly blocks: number;
  /** Blocks that went to make room. */
  readonly evicted: number;
  /** Blocks that prompts asked for, and those of them that were held. */
  readonly asked: number;
  readonly found: number;
}

export type Answer =
  | { readonly type: "loaded"; readonly loaded: Loaded }
  | { readonly type: "event"; readonly event: TokenEvent | null }
  | { readonly type: "handoff"; readonly handoff: Handoff }
  | { readonly type: "blocks"; readonly sealed: readonly Uint8Array<ArrayBuffer>[] }
  | { readonly type: "cache"; readonly state: CacheState }
  | { readonly type: "done" };

/** An error as a structured clone: classes and their codes do not survive a thread border by themselves. */
export type Failure =
  | { readonly kind: "handoff"; readonly fault: HandoffFault; readonly message: string }
  | { readonly kind: "engine"; readonly fault: EngineFault; readonly message: string }
  | { readonly kind: "bundle"; readonly fault: BundleFault; readonly path: string; readonly message: string }
  | { readonly kind: "other"; readonly message: string };

export interface CallMessage {
  readonly id: number;
  readonly call: Call;
}
export type ReplyMessage =
  | { readonly id: number; readonly answer: Answer }
  | { readonly id: number; readonly failure: Failure };

export function toFailure(error: unknown): Failure {
  if (error instanceof HandoffError) return { kind: "handoff", fault: error.fault, message: error.message };
  if (error instanceof EngineError) return { kind: "engine", fault: error.fault, message: error.message };
  if (error instanceof BundleError) {
    return {
      kind: "bundle",
      fault: error.fault,
      path: error.path,
      message: error.message.slice(error.path.length + 2),
    };
  }
  return { kind: "other", message: error instanceof Error ? (error.stack ?? error.message) : String(error) };
}

export function fromFailure(failure: Failure): Error {
  switch (failure.kind) {
    case "handoff":
      return new HandoffError(failure.fault, failure.message);
    case "engine":
      return new EngineError(failure.fault, failure.message);
    case "bundle":
      return new BundleError(failure.fault, failure.path, failure.message);
    case "other":
      return new Error(failure.message);
    default:
      return failure satisfies never;
  }
}
