/**
 * Whether state is worth moving: bytes over the measured bandwidth against tokens over the measured rate of whoever
 * would compute them anew. Both are linear in the tokens, so the answer is the link's, not the prompt's. Pure; the
 * measuring is `LinkMeter`'s.
 */

export const TRANSFER_MODES = ["auto", "always", "never"] as const;
export type TransferMode = (typeof TRANSFER_MODES)[number];

/** What the decision is made from; null: not measured yet. */
export interface TransferInputs {
  /** Of the state. */
  readonly bytes: number;
  /** Tokens times the layers that the state spares. */
  readonly tokenLayers: number;
  /** Bytes per second. */
  readonly bandwidth: number | null;
  /** Tokens times layers per second. */
  readonly tokenLayersPerSecond: number | null;
  /** Milliseconds that moving takes beyond the bytes' own time: a request that would not be made otherwise. */
  readonly extraMs: number;
}

export interface TransferDecision {
  readonly move: boolean;
  readonly reason: "forced" | "unmeasured" | "cheaper" | "dearer";
  /** null: not known. */
  readonly moveMs: number | null;
  readonly computeMs: number | null;
}

/** What is not measured yet is moved: only so is it measured. */
export function decideTransfer(inputs: TransferInputs, mode: TransferMode): TransferDecision {
  const { bytes, tokenLayers, bandwidth, tokenLayersPerSecond, extraMs } = inputs;
  const moveMs = bandwidth === null ? null : extraMs + (1_000 * bytes) / bandwidth;
  const computeMs = tokenLayersPerSecond === null ? null : (1_000 * tokenLayers) / tokenLayersPerSecond;
  if (mode !== "auto") return { move: mode === "always", reason: "forced", moveMs, computeMs };
  if (moveMs === null || computeMs === null) return { move: true, reason: "unmeasured", moveMs, computeMs };
  return { move: moveMs < computeMs, reason: moveMs < computeMs ? "cheaper" : "dearer", moveMs, computeMs };
}

/** Weight of the newest measurement: about the last eight count. */
const NEWEST = 1 / 8;
/** Bytes from which on a body's time says something of the bandwidth. */
const MIN_BYTES = 16 * 1024;
/** Token-layers from which on a prefill's time says something of the rate: two blocks through three layers. */
const MIN_TOKEN_LAYERS = 192;

/** What a tier has seen of its link to another, as running means. One an isolate. */
export class LinkMeter {
  #roundTripMs: number | null = null;
  #bandwidth: number | null = null;
  #tokenLayersPerSecond: number | null = null;

  /** Milliseconds from a small request to its answer's headers. */
  get roundTripMs(): number | null {
    return this.#roundTripMs;
  }

  /** Bytes per second. */
  get bandwidth(): number | null {
    return this.#bandwidth;
  }

  get tokenLayersPerSecond(): number | null {
    return this.#tokenLayersPerSecond;
  }

  /** A body of so many bytes took so long until it was answered, or a request so long until its body was there. */
  moved(bytes: number, milliseconds: number): void {
    if (bytes < MIN_BYTES) this.#roundTripMs = mean(this.#roundTripMs, milliseconds);
    else {
      const own = Math.max(milliseconds - (this.#roundTripMs ?? 0), 1); // clocks here tick in milliseconds
      this.#bandwidth = mean(this.#bandwidth, (1_000 * bytes) / own);
    }
  }

  /** A prompt's tokens times layers took so long to compute. */
  computed(tokenLayers: number, milliseconds: number): void {
    if (tokenLayers < MIN_TOKEN_LAYERS || milliseconds <= 0) return;
    this.#tokenLayersPerSecond = mean(this.#tokenLayersPerSecond, (1_000 * tokenLayers) / milliseconds);
  }
}

function mean(before: number | null, newest: number): number {
  return before === null ? newest : before + NEWEST * (newest - before);
}
