/**
 * One sequence's memory: its token ids and, for every segment, what the layers made of them so far.
 *
 * Everything is token-major, so that a prefix is a zero-copy `subarray`, appending is one `set`, rewinding moves an
 * index, and a block of tokens is one slice. Buffers grow geometrically up to the context length.
 */
import type { Handoff, Numerics } from "../handoff.ts";
import type { Bundle } from "./bundle.ts";
import { EngineError, HandoffError } from "./errors.ts";

/** Tokens a block: the unit of prefill chunks and of the prefix cache (DESIGN section 6, "Exactness"). */
export const BLOCK_TOKENS = 32;

/** First capacity in tokens: a short chat fits without growing. */
const INITIAL_CAPACITY = 4 * BLOCK_TOKENS;

/** The largest position below or at `n` where a block starts. */
export function blockFloor(n: number): number {
  return n - (n % BLOCK_TOKENS);
}

interface SegmentState {
  /** 1-based, both included. */
  readonly firstLayer: number;
  readonly lastLayer: number;
  /** Positions 0..computed-1 have keys and values. */
  computed: number;
  /** Positions 0..canonical-1 were computed in whole aligned blocks; a multiple of BLOCK_TOKENS. */
  canonical: number;
  /** Positions hiddenFrom..computed-1 have a hidden state (a handoff brings it for its last segment only). */
  hiddenFrom: number;
  hidden: Float32Array; // [capacity, d]
  readonly keys: Float32Array[]; // per layer [capacity, Hkv·Dh]
  readonly values: Float32Array[]; // per layer [capacity, Hkv·Dh]
}

/** What a segment's graph returned for positions `start..start+tokens-1`. */
export interface SegmentOutput {
  readonly hidden: Float32Array; // [tokens, d]
  readonly keys: readonly Float32Array[]; // per layer [tokens, Hkv·Dh]
  readonly values: readonly Float32Array[]; // per layer [tokens, Hkv·Dh]
}

export class Sequence {
  readonly bundle: Bundle;
  readonly #ids: number[] = [];
  readonly #segments: SegmentState[];
  #capacity = 0;

  /** An empty sequence for every segment of `bundle`; memory for a segment is taken when it is first computed. */
  constructor(bundle: Bundle) {
    this.bundle = bundle;
    this.#segments = bundle.segments.map((segment) => ({
      firstLayer: segment.first_layer,
      lastLayer: segment.last_layer,
      computed: 0,
      canonical: 0,
      hiddenFrom: 0,
      hidden: new Float32Array(0),
      keys: layersOf(segment.first_layer, segment.last_layer),
      values: layersOf(segment.first_layer, segment.last_layer),
    }));
  }

  /** Number of token ids, computed or not. */
  get length(): number {
    return this.#ids.length;
  }

  /** A copy of the token ids. */
  get tokenIds(): number[] {
    return this.#ids.slice();
  }

  /** @throws RangeError outside 0..length-1. */
  tokenAt(position: number): number {
    const id = this.#ids[position];
    if (id === undefined) throw new RangeError(`position ${position} of a sequence of ${this.length}`);
    return id;
  }

  /** Bytes of kvCache and hidden states held. */
  get bytes(): number {
    let total = 0;
    for (const segment of this.#segments) {
      total += segment.hidden.byteLength;
      for (const buffer of segment.keys) total += buffer.byteLength;
      for (const buffer of segment.values) total += buffer.byteLength;
    }
    return total;
  }

  /** @throws EngineError `context_length`, `token_id`; nothing is appended then. */
  append(ids: readonly number[]): void {
    const { context_length, vocab_size } = this.bundle.shape;
    if (this.length + ids.length > context_length) {
      throw new EngineError(
        "context_length",
        `${this.length + ids.length} tokens exceed the context of ${context_length}`,
      );
    }
    for (const id of ids) {
      if (!Number.isInteger(id) || id < 0 || id >= vocab_size) {
        throw new EngineError("token_id", `token id ${id} is outside the vocabulary of ${vocab_size}`);
      }
    }
    for (const id of ids) this.#ids.push(id);
  }

  /** Positions that segment `segment` (0-based) has computed. */
  computed(segment: number): number {
    return this.#segment(segment).computed;
  }

  /** Leading positions whose state does not depend on how the tokens arrived: computed in whole aligned blocks. */
  canonical(segment: number): number {
    return this.#segment(segment).canonical;
  }

  /** The first position that holds a hidden state at the end of `segment`: 0, or T where a handoff brought none. */
  hiddenFrom(segment: number): number {
    return this.#segment(segment).hiddenFrom;
  }

  /** Forgets every token and state at `length` and after. */
  rewind(length: number): void {
    if (!Number.isInteger(length) || length < 0 || length > this.length) {
      throw new RangeError(`cannot rewind a sequence of ${this.length} to ${length}`);
    }
    this.#ids.length = length;
    for (const segment of this.#segments) {
      segment.computed = Math.min(segment.computed, length);
      segment.canonical = Math.min(segment.canonical, blockFloor(length));
      segment.hiddenFrom = Math.min(segment.hiddenFrom, segment.computed);
    }
  }

  /**
   * Makes this the sequence of `ids`, keeping the state of the blocks it shares with them. States that depend on how
   * tokens arrived (a half-filled block, blocks filled by decoding) are dropped, so that the same prompt gives the
   * same answer on a warm sequence and on a new one.
   *
   * @returns the number of leading positions whose state was kept in the first segment.
   * @throws EngineError as `append`.
   */
  retarget(ids: readonly number[]): number {
    let common = 0;
    while (common < this.length && common < ids.length && this.#ids[common] === ids[common]) common++;
    this.#ids.length = common;
    for (const segment of this.#segments) {
      const kept = Math.min(segment.canonical, blockFloor(common));
      segment.computed = segment.canonical = kept;
      segment.hiddenFrom = Math.min(segment.hiddenFrom, kept);
    }
    this.append(ids.slice(common));
    return this.computed(0);
  }

  /** Zero-copy `[computed, Hkv·Dh]`, valid until the next `store` or `rewind`. `layer` is the index in the model, from 0. */
  past(segment: number, layer: number): { readonly keys: Float32Array; readonly values: Float32Array } {
    const state = this.#segment(segment);
    const at = layer + 1 - state.firstLayer;
    const [keys, values] = [state.keys[at], state.values[at]];
    if (keys === undefined || values === undefined) throw new RangeError(`layer ${layer} is not in segment ${segment}`);
    const end = state.computed * this.#kvWidth;
    return { keys: keys.subarray(0, end), values: values.subarray(0, end) };
  }

  /**
   * Zero-copy hidden states at the end of `segment`, positions start..end-1, `[end-start, d]`; valid as `past`.
   *
   * @throws EngineError `no_state` where a position has none.
   */
  hidden(segment: number, start: number, end: number): Float32Array {
    const state = this.#segment(segment);
    if (start < state.hiddenFrom || end > state.computed || start > end) {
      throw new EngineError("no_state", `positions ${start}..${end} have no hidden state at layer ${state.lastLayer}`);
    }
    const width = this.bundle.shape.hidden_size;
    return state.hidden.subarray(start * width, end * width);
  }

  /** Appends what `segment` computed for the next `tokens` positions; copies it. */
  store(segment: number, tokens: number, output: SegmentOutput): void {
    const state = this.#segment(segment);
    const start = state.computed;
    this.#reserve(state, start + tokens);
    state.hidden.set(output.hidden, start * this.bundle.shape.hidden_size);
    for (let at = 0; at < state.keys.length; at++) {
      state.keys[at]?.set(output.keys[at] ?? [], start * this.#kvWidth);
      state.values[at]?.set(output.values[at] ?? [], start * this.#kvWidth);
    }
    state.computed = start + tokens;
    // Whole, and made from states that were whole themselves.
    const below = this.#segments[segment - 1]?.canonical ?? state.computed;
    if (tokens === BLOCK_TOKENS && start === state.canonical && below >= state.computed)
      state.canonical = state.computed;
  }

  /**
   * The state after layers 1..exit of every position that has it, as copies.
   *
   * @throws EngineError `unknown_exit`, `no_state`.
   */
  export(exit: number): Handoff {
    const last = this.#segmentOfExit(exit);
    const used = this.#segments.slice(0, last + 1);
    const computed = Math.min(...used.map((segment) => segment.computed));
    const end = computed * this.#kvWidth;
    return {
      fingerprint: this.bundle.fingerprint,
      numerics: this.bundle.numerics,
      exitLayer: exit,
      positions: computed,
      inputIds: Int32Array.from(this.#ids),
      hiddenState: this.hidden(last, 0, computed).slice(),
      pastK: used.flatMap((segment) => segment.keys.map((buffer) => buffer.slice(0, end))),
      pastV: used.flatMap((segment) => segment.values.map((buffer) => buffer.slice(0, end))),
    };
  }

  /**
   * A sequence that goes on where a handoff stopped: layers 1..exitLayer are computed for its first T positions.
   *
   * @param foreign numerics accepted besides the bundle's own; their states are an approximation.
   * @throws HandoffError naming the fault; nothing of the handoff is used then.
   */
  static import(bundle: Bundle, handoff: Handoff, foreign: readonly Numerics[] = []): Sequence {
    const { hidden_size, kv_heads, head_dim, context_length } = bundle.shape;
    if (handoff.fingerprint !== bundle.fingerprint) {
      throw new HandoffError("fingerprint", `handoff of ${handoff.fingerprint}, this is ${bundle.fingerprint}`);
    }
    if (handoff.numerics !== bundle.numerics && !foreign.includes(handoff.numerics)) {
      throw new HandoffError("numerics", `handoff in ${handoff.numerics}, this bundle is ${bundle.numerics}`);
    }
    const last = bundle.exits.indexOf(handoff.exitLayer);
    if (last < 0) throw new HandoffError("exit", `layer ${handoff.exitLayer} is not an exit of this bundle`);
    const tokens = handoff.positions;
    if (!Number.isInteger(tokens) || tokens < 1 || handoff.hiddenState.length !== tokens * hidden_size) {
      throw new HandoffError(
        "shape",
        `hidden_state of ${handoff.hiddenState.length} values is not [T >= 1, ${hidden_size}]`,
      );
    }
    if (handoff.inputIds.length < tokens || handoff.inputIds.length > context_length) {
      throw new HandoffError(
        "length",
        `${handoff.inputIds.length} ids with ${tokens} states, context ${context_length}`,
      );
    }
    const width = tokens * kv_heads * head_dim;
    for (const [name, layers] of [
      ["past_k", handoff.pastK],
      ["past_v", handoff.pastV],
    ] as const) {
      if (layers.length !== handoff.exitLayer || layers.some((layer) => layer.length !== width)) {
        throw new HandoffError(
          "shape",
          `${name} is not ${handoff.exitLayer} layers of [${tokens}, ${kv_heads * head_dim}]`,
        );
      }
    }
    const sequence = new Sequence(bundle);
    try {
      sequence.append(Array.from(handoff.inputIds));
    } catch (error) {
      throw new HandoffError("tokens", error instanceof Error ? error.message : String(error));
    }
    sequence.#adopt(last, tokens, handoff);
    return sequence;
  }

  #adopt(last: number, tokens: number, handoff: Handoff): void {
    for (const [index, segment] of this.#segments.slice(0, last + 1).entries()) {
      this.#reserve(segment, tokens);
      for (let layer = segment.firstLayer; layer <= segment.lastLayer; layer++) {
        segment.keys[layer - segment.firstLayer]?.set(handoff.pastK[layer - 1] ?? []);
        segment.values[layer - segment.firstLayer]?.set(handoff.pastV[layer - 1] ?? []);
      }
      segment.computed = tokens;
      segment.hiddenFrom = index === last ? 0 : tokens;
      if (index === last) segment.hidden.set(handoff.hiddenState);
    }
  }

  get #kvWidth(): number {
    return this.bundle.shape.kv_heads * this.bundle.shape.head_dim;
  }

  #segment(index: number): SegmentState {
    const segment = this.#segments[index];
    if (segment === undefined) throw new RangeError(`segment ${index} of ${this.#segments.length}`);
    return segment;
  }

  #segmentOfExit(exit: number): number {
    const index = this.#segments.findIndex((segment) => segment.lastLayer === exit);
    if (index < 0) throw new EngineError("unknown_exit", `layer ${exit} is not an exit of this bundle`);
    return index;
  }

  /** Makes room for `positions` in one segment, doubling up to the context length. */
  #reserve(segment: SegmentState, positions: number): void {
    while (this.#capacity < positions) {
      this.#capacity = Math.min(Math.max(INITIAL_CAPACITY, this.#capacity * 2), this.bundle.shape.context_length);
    }
    segment.hidden = grown(segment.hidden, positions, this.#capacity, this.bundle.shape.hidden_size);
    for (let at = 0; at < segment.keys.length; at++) {
      segment.keys[at] = grown(segment.keys[at] ?? new Float32Array(0), positions, this.#capacity, this.#kvWidth);
      segment.values[at] = grown(segment.values[at] ?? new Float32Array(0), positions, this.#capacity, this.#kvWidth);
    }
  }
}

function layersOf(first: number, last: number): Float32Array[] {
  return Array.from({ length: last - first + 1 }, () => new Float32Array(0));
}

/** `buffer` itself when `positions` rows fit, otherwise a larger one with its content. */
function grown(buffer: Float32Array, positions: number, capacity: number, width: number): Float32Array {
  if (buffer.length >= positions * width) return buffer;
  const larger = new Float32Array(capacity * width);
  larger.set(buffer);
  return larger;
}
