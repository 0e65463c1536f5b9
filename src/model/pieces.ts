/** The network in pieces, a session for the rim and one for each segment: what is not needed need not be loaded. */
import { B, floats, hiddenBelow, idsOf, madeRows, type Network, pastOf, positionsOf, rowsOf } from "./network.ts";
import type { GraphSession } from "./runtime.ts";

/** Takes ownership of the sessions. @param width d. */
export function networkOfPieces(rim: GraphSession, segments: readonly GraphSession[], width: number): Network {
  // The half of the rim that is not wanted gets no rows.
  const embed = async (ids: ReturnType<typeof idsOf>) =>
    floats(await rim.run({ input_ids: ids, hidden_state: rowsOf(new Float32Array(0), width) }), "embedding").data;
  const head = async (hidden: Float32Array) => {
    const none = { data: new BigInt64Array(0), dims: [B, 0] };
    return floats(await rim.run({ input_ids: none, hidden_state: rowsOf(hidden, width) }), "logits").data;
  };
  return {
    depth: segments.length,
    head,
    async run(sequence, span, wantsLogits) {
      const { first, last, start, end } = span;
      let hidden = first === 0 ? rowsOf(await embed(idsOf(sequence, span)), width) : hiddenBelow(sequence, span);
      for (let segment = first; segment <= last; segment++) {
        const session = segments[segment];
        if (session === undefined) throw new RangeError(`segment ${segment} is not loaded`);
        const outputs = await session.run({
          hidden_state: hidden,
          position_ids: positionsOf(span),
          ...pastOf(sequence, segment),
        });
        const made = madeRows(outputs, "hidden_state_out", "new_state");
        sequence.store(segment, end - start, made);
        hidden = rowsOf(sequence.hidden(segment, start, end), width);
      }
      return wantsLogits ? head(sequence.hidden(last, start, end)) : null;
    },
    async dispose() {
      for (const session of [rim, ...segments]) await session.dispose();
    },
  };
}
