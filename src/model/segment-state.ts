/**
 * What one segment's layers made of a sequence: keys and values per layer, hidden states at the end.
 *
 * Everything is token-major, so that a prefix is a zero-copy `subarray`, appending is one `set`, rewinding moves an
 * index, and a block of tokens is one slice. Buffers are made for the whole prompt at once, and then grow geometrically
 * up to the context length.
 */
import { EngineError } from "./errors.ts";

/** Tokens a block: the unit of prefill chunks and of the prefix cache (DESIGN section 6, "Exactness"). */
export const BLOCK_TOKENS = 32;

/** Capacity in tokens beyond what is known to come: a short answer fits without growing. */
const SPARE_CAPACITY = 4 * BLOCK_TOKENS;

/** The largest position below or at `n` where a block starts. */
export function blockFloor(n: number): number {
  return n - (n % BLOCK_TOKENS);
}

export interface SegmentShape {
  /** 1-based, both included. */
  readonly firstLayer: number;
  readonly lastLayer: number;
  /** d. */
  readonly width: number;
  /** Hkv·Dh. */
  readonly kvWidth: number;
  /** Positions there can ever be. */
  readonly contextLength: number;
}

/** State of some consecutive positions. */
export interface SegmentRows {
  /** `[tokens, d]`; null where a handoff brought none. */
  readonly hidden: Float32Array | null;
  /** Per layer `[tokens, Hkv·Dh]`. */
  readonly keys: readonly Float32Array[];
  readonly values: readonly Float32Array[];
}

export class SegmentState {
  readonly shape: SegmentShape;
  #computed = 0;
  #hiddenFrom = 0;
  #hidden: Float32Array = new Float32Array(0); // [capacity, d]
  readonly #keys: Float32Array[]; // per layer [capacity, Hkv·Dh]
  readonly #values: Float32Array[]; // per layer [capacity, Hkv·Dh]

  /** Takes no memory before the first `append`. */
  constructor(shape: SegmentShape) {
    this.shape = shape;
    const empty = () => Array.from({ length: shape.lastLayer - shape.firstLayer + 1 }, () => new Float32Array(0));
    this.#keys = empty();
    this.#values = empty();
  }

  /** Positions 0..computed-1 have keys and values. */
  get computed(): number {
    return this.#computed;
  }

  /** Positions hiddenFrom..computed-1 have a hidden state. */
  get hiddenFrom(): number {
    return this.#hiddenFrom;
  }

  get bytes(): number {
    return [this.#hidden, ...this.#keys, ...this.#values].reduce((sum, buffer) => sum + buffer.byteLength, 0);
  }

  /** Zero-copy `[computed, Hkv·Dh]` of the layer with index `layer` in the model, from 0. */
  past(layer: number): { readonly keys: Float32Array; readonly values: Float32Array } {
    const at = layer + 1 - this.shape.firstLayer;
    const [keys, values] = [this.#keys[at], this.#values[at]];
    if (keys === undefined || values === undefined) throw new RangeError(`layer ${layer} is not in this segment`);
    const end = this.#computed * this.shape.kvWidth;
    return { keys: keys.subarray(0, end), values: values.subarray(0, end) };
  }

  /** Zero-copy `[end-start, d]`. @throws EngineError `no_state` where a position has none. */
  hidden(start: number, end: number): Float32Array {
    if (start < this.#hiddenFrom || end > this.#computed || start > end) {
      const { lastLayer } = this.shape;
      throw new EngineError("no_state", `positions ${start}..${end} have no hidden state at layer ${lastLayer}`);
    }
    return this.#hidden.subarray(start * this.shape.width, end * this.shape.width);
  }

  /** Zero-copy rows of positions start..end-1, which hold everything; valid until the next `append` or `truncate`. */
  rows(start: number, end: number): SegmentRows & { readonly hidden: Float32Array } {
    const { kvWidth } = this.shape;
    const part = (buffer: Float32Array): Float32Array => buffer.subarray(start * kvWidth, end * kvWidth);
    return { hidden: this.hidden(start, end), keys: this.#keys.map(part), values: this.#values.map(part) };
  }

  /**
   * Appends the next `tokens` positions; copies them.
   *
   * @param expected positions that will come, these included, as far as is known.
   */
  append(tokens: number, rows: SegmentRows, expected: number): void {
    const start = this.#computed;
    const end = start + tokens;
    this.#reserve(end, Math.max(end, expected));
    if (rows.hidden === null) this.#hiddenFrom = end;
    else this.#hidden.set(rows.hidden, start * this.shape.width);
    for (let at = 0; at < this.#keys.length; at++) {
      this.#keys[at]?.set(rows.keys[at] ?? [], start * this.shape.kvWidth);
      this.#values[at]?.set(rows.values[at] ?? [], start * this.shape.kvWidth);
    }
    this.#computed = end;
  }

  /** Forgets positions `length` and after. */
  truncate(length: number): void {
    this.#computed = Math.min(this.#computed, length);
    this.#hiddenFrom = Math.min(this.#hiddenFrom, this.#computed);
  }

  /** Makes room for `positions`, and then for all that are expected, at least doubling, up to the context length. */
  #reserve(positions: number, expected: number): void {
    const { width, kvWidth, contextLength } = this.shape;
    if (positions * width <= this.#hidden.length) return;
    const doubled = Math.max(expected + SPARE_CAPACITY, (2 * this.#hidden.length) / width);
    const capacity = Math.min(doubled, contextLength);
    this.#hidden = grown(this.#hidden, capacity * width);
    for (const buffers of [this.#keys, this.#values]) {
      for (const [at, buffer] of buffers.entries()) buffers[at] = grown(buffer, capacity * kvWidth);
    }
  }
}

function grown(buffer: Float32Array, length: number): Float32Array {
  const larger = new Float32Array(length);
  larger.set(buffer);
  return larger;
}
