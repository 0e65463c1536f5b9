/**
 * What one tier hands to the other so that it resumes instead of restarting.
 * A leaf: plain typed arrays, token-major, so that the wire format is the memory format.
 */

/** Which arithmetic made a state. Foreign numerics are an approximation and never mixed unasked. */
export type Numerics = "w8a8" | "fp32" | "bf16";

/** The state of the first T tokens after layers 1..exitLayer, and the ids of all N >= T tokens. */
export interface Handoff {
  /** First 16 hex digits of the SHA-256 over the checkpoint's weights and config. */
  readonly fingerprint: string;
  readonly numerics: Numerics;
  /** Layers 1..exitLayer have run for the first T tokens. */
  readonly exitLayer: number;
  /** T, stated so that rows can be told without the checkpoint's shape. At least 1. */
  readonly positions: number;
  /** `[N]`; positions T..N-1 have no state yet and run from layer 1. */
  readonly inputIds: Int32Array;
  /** `[T, d]`, residual stream after layer exitLayer, before the final norm. */
  readonly hiddenState: Float32Array;
  /** By layer, of exits below exitLayer: the residual stream there, `[T, d]`. For the receiver's prefix cache; may be empty. */
  readonly innerHidden: ReadonlyMap<number, Float32Array>;
  /** Per layer index 0..exitLayer-1: keys (after rotary embedding) `[T, Hkv·Dh]`. */
  readonly pastK: readonly Float32Array[];
  /** Per layer index 0..exitLayer-1: values `[T, Hkv·Dh]`. */
  readonly pastV: readonly Float32Array[];
}
