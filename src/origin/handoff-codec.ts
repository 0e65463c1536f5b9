/**
 * Handoff + generation request ⇄ safetensors bytes (the body of a resumed `POST /v1/generate`).
 */
import type { GenerationRequest } from "../generation.ts";
import type { Handoff, Numerics } from "../handoff.ts";
import type { HandoffRefusalCode } from "./protocol.ts";

/** Float type of hidden states and kvCache on the wire. */
export type WireDtype = "F16" | "F32";

/** What a receiver can resume: its own checkpoint's shape. */
export interface HandoffTarget {
  readonly fingerprint: string;
  /** Numerics whose state is accepted. */
  readonly numerics: readonly Numerics[];
  /** Ascending layer counts. */
  readonly exits: readonly number[];
  readonly hiddenSize: number;
  /** Hkv·Dh. */
  readonly kvSize: number;
  readonly vocabSize: number;
}

/** A handoff that cannot be resumed here; the sender falls back to token ids. */
export class HandoffRefusal extends Error {
  readonly code: HandoffRefusalCode;
  constructor(code: HandoffRefusalCode, message: string) {
    super(message);
    this.name = "HandoffRefusal";
    this.code = code;
  }
}

/** @returns a safetensors body. @throws {RangeError} when the handoff contradicts itself. */
export declare function encodeHandoff(
  handoff: Handoff,
  request: GenerationRequest,
  dtype?: WireDtype,
): Uint8Array<ArrayBuffer>;

/**
 * Reads a body, checking every bound before allocating.
 * @throws {HandoffRefusal} and nothing else.
 */
export declare function decodeHandoff(
  bytes: Uint8Array,
  target: HandoffTarget,
): { handoff: Handoff; request: GenerationRequest };
