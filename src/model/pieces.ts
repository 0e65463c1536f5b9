/** The network in pieces, a session for the rim and one for each segment: what is not needed need not be loaded. */
import type { Bundle } from "./bundle.ts";
import { addPast, B, floats, idsOf, layersOf, type Network, positionsOf, rowsOf, storeMade } from "./network.ts";
import type { GraphSession, GraphTensor } from "./runtime.ts";

const MADE = { hidden: "hidden_state_out", state: "new_state" };

/** Takes ownership of the sessions. @param sessions of the bundle's first segments. */
export function networkOfPieces(rim: GraphSession, sessions: readonly GraphSession[], bundle: Bundle): Network {
  const width = bundle.shape.hidden_size;
  const segments = sessions.map((session, segment) => ({ session, layers: layersOf(bundle, segment) }));
  // The half of the rim that is not wanted gets no rows.
  const noIds = rim.tensor(new BigInt64Array(0), [B, 0]);
  const noRows = rowsOf(rim, new Float32Array(0), width);
  const head = async (hidden: Float32Array) =>
    floats(await rim.run({ input_ids: noIds, hidden_state: rowsOf(rim, hidden, width) }), "logits").data;
  return {
    depth: segments.length,
    head,
    async run(sequence, span, wantsLogits) {
      const { first, last, start, end } = span;
      let hidden: Float32Array;
      if (first === 0) {
        const ids = idsOf(rim, sequence, span);
        hidden = floats(await rim.run({ input_ids: ids, hidden_state: noRows }), "embedding").data;
      } else hidden = sequence.hidden(first - 1, start, end);
      for (let segment = first; segment <= last; segment++) {
        const piece = segments[segment];
        if (piece === undefined) throw new RangeError(`segment ${segment} is not loaded`);
        const { session, layers } = piece;
        const inputs: Record<string, GraphTensor> = {
          hidden_state: rowsOf(session, hidden, width),
          position_ids: positionsOf(session, span),
        };
        addPast(inputs, session, sequence, segment, layers);
        storeMade(sequence, segment, end - start, await session.run(inputs), MADE);
        hidden = sequence.hidden(segment, start, end);
      }
      return wantsLogits ? head(hidden) : null;
    },
    async dispose() {
      for (const { session } of [{ session: rim }, ...segments]) await session.dispose();
    },
  };
}
