/** One sequence's memory: its token ids and, for every segment, what the layers made of them so far. */
import type { Handoff, Numerics } from "../handoff.ts";
import type { Bundle } from "./bundle.ts";
import { EngineError, HandoffError } from "./errors.ts";
import { checkHandoff } from "./handoff-check.ts";
import { BLOCK_TOKENS, type SegmentRows, SegmentState } from "./segment-state.ts";

export class Sequence {
  readonly bundle: Bundle;
  readonly #ids: number[] = [];
  readonly #segments: readonly SegmentState[];
  #isForeign = false;

  /** An empty sequence for every segment of `bundle`; memory for a segment is taken when it is first computed. */
  constructor(bundle: Bundle) {
    this.bundle = bundle;
    const { hidden_size, kv_heads, head_dim, context_length } = bundle.shape;
    this.#segments = bundle.segments.map(
      (segment) =>
        new SegmentState({
          firstLayer: segment.first_layer,
          lastLayer: segment.last_layer,
          width: hidden_size,
          kvWidth: kv_heads * head_dim,
          contextLength: context_length,
        }),
    );
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

  /** Whether another arithmetic made a part of it: then whatever is computed from it is that one's approximation. */
  get isForeign(): boolean {
    return this.#isForeign;
  }

  /** Bytes of kvCache and hidden states held. */
  get bytes(): number {
    return this.#segments.reduce((sum, segment) => sum + segment.bytes, 0);
  }

  /** @throws EngineError `context_length`, `token_id`; nothing is appended then. */
  append(ids: readonly number[]): void {
    const { context_length, vocab_size } = this.bundle.shape;
    const length = this.length + ids.length;
    if (length > context_length) {
      throw new EngineError("context_length", `${length} tokens exceed the context of ${context_length}`);
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

  /** The first position that holds a hidden state at the end of `segment`: 0, or T where a handoff brought none. */
  hiddenFrom(segment: number): number {
    return this.#segment(segment).hiddenFrom;
  }

  /** Zero-copy rows of whole block `index` of `segment`; valid as `past`. */
  block(segment: number, index: number): SegmentRows & { readonly hidden: Float32Array } {
    return this.#segment(segment).rows(index * BLOCK_TOKENS, (index + 1) * BLOCK_TOKENS);
  }

  /** Forgets every token and state at `length` and after. */
  rewind(length: number): void {
    if (!Number.isInteger(length) || length < 0 || length > this.length) {
      throw new RangeError(`cannot rewind a sequence of ${this.length} to ${length}`);
    }
    this.#ids.length = length;
    for (const segment of this.#segments) segment.truncate(length);
  }

  /** Zero-copy `[computed, Hkv·Dh]`, valid until the next `store` or `rewind`. `layer` is the index in the model, from 0. */
  past(segment: number, layer: number): { readonly keys: Float32Array; readonly values: Float32Array } {
    return this.#segment(segment).past(layer);
  }

  /**
   * Zero-copy hidden states at the end of `segment`, positions start..end-1, `[end-start, d]`; valid as `past`.
   *
   * @throws EngineError `no_state` where a position has none.
   */
  hidden(segment: number, start: number, end: number): Float32Array {
    return this.#segment(segment).hidden(start, end);
  }

  /** Appends what `segment` computed for the next `tokens` positions; copies it. */
  store(segment: number, tokens: number, rows: SegmentRows): void {
    this.#segment(segment).append(tokens, rows, this.length);
  }

  /**
   * The state after layers 1..exit of every position that has it, as copies.
   *
   * @throws EngineError `unknown_exit`, `no_state`.
   */
  export(exit: number): Handoff {
    const last = this.bundle.exits.indexOf(exit);
    if (last < 0) throw new EngineError("unknown_exit", `layer ${exit} is not an exit of this bundle`);
    const { kv_heads, head_dim } = this.bundle.shape;
    const below = this.#segments.slice(0, last);
    const positions = Math.min(...[...below, this.#segment(last)].map((segment) => segment.computed));
    const whole = below.filter(({ hiddenFrom }) => hiddenFrom === 0);
    const end = positions * kv_heads * head_dim;
    const layers = this.#segments.slice(0, last + 1).flatMap((segment) => {
      const { firstLayer, lastLayer } = segment.shape;
      return Array.from({ length: lastLayer - firstLayer + 1 }, (_, at) => segment.past(firstLayer - 1 + at));
    });
    return {
      fingerprint: this.bundle.fingerprint,
      numerics: this.bundle.numerics,
      exitLayer: exit,
      positions,
      inputIds: Int32Array.from(this.#ids),
      hiddenState: this.hidden(last, 0, positions).slice(),
      innerHidden: new Map(whole.map((segment) => [segment.shape.lastLayer, segment.hidden(0, positions).slice()])),
      pastK: layers.map(({ keys }) => keys.slice(0, end)),
      pastV: layers.map(({ values }) => values.slice(0, end)),
    };
  }

  /**
   * A sequence that goes on where a handoff stopped: layers 1..exitLayer are computed for its first T positions.
   *
   * @param foreign numerics accepted besides the bundle's own; their states are an approximation.
   * @throws HandoffError naming the fault; nothing of the handoff is used then.
   */
  static import(bundle: Bundle, handoff: Handoff, foreign: readonly Numerics[] = []): Sequence {
    checkHandoff(bundle, handoff, foreign);
    const sequence = new Sequence(bundle);
    try {
      sequence.append(Array.from(handoff.inputIds));
    } catch (error) {
      throw new HandoffError("tokens", error instanceof Error ? error.message : String(error));
    }
    for (const segment of sequence.#segments) {
      const { firstLayer, lastLayer } = segment.shape;
      if (lastLayer > handoff.exitLayer) break;
      const rows = {
        hidden: lastLayer === handoff.exitLayer ? handoff.hiddenState : (handoff.innerHidden.get(lastLayer) ?? null),
        keys: handoff.pastK.slice(firstLayer - 1, lastLayer),
        values: handoff.pastV.slice(firstLayer - 1, lastLayer),
      };
      segment.append(handoff.positions, rows, sequence.length);
    }
    sequence.#isForeign = handoff.numerics !== bundle.numerics;
    return sequence;
  }

  #segment(index: number): SegmentState {
    const segment = this.#segments[index];
    if (segment === undefined) throw new RangeError(`segment ${index} of ${this.#segments.length}`);
    return segment;
  }
}
