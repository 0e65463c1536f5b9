/** The network in one session: a step is one run, whatever it computes. */
import type { Bundle } from "./bundle.ts";
import {
  B,
  floats,
  hiddenBelow,
  idsOf,
  layersOf,
  madeRows,
  type Network,
  pastOf,
  positionsOf,
  rowsOf,
} from "./network.ts";
import type { GraphSession, GraphTensor } from "./runtime.ts";

/** Takes ownership of the session. */
export function wholeNetwork(session: GraphSession, bundle: Bundle): Network {
  const { hidden_size, kv_heads, head_dim } = bundle.shape;
  const nothing = idle(bundle, kv_heads * head_dim);
  const noRows = rowsOf(new Float32Array(0), hidden_size);
  const yes = flag(true);
  return {
    depth: bundle.segments.length,
    async run(sequence, span, wantsLogits) {
      const { first, last, start, end } = span;
      const inputs: Record<string, GraphTensor> = {
        ...nothing,
        position_ids: positionsOf(span),
        ...(first === 0
          ? { input_ids: idsOf(sequence, span), hidden_state: noRows }
          : { hidden_state: hiddenBelow(sequence, span) }),
      };
      const wanted = wantsLogits ? ["logits"] : [];
      if (wantsLogits) inputs.head = yes;
      for (let segment = first; segment <= last; segment++) {
        inputs[`run.${segment}`] = yes;
        Object.assign(inputs, pastOf(sequence, segment));
        wanted.push(`hidden_state_out.${segment}`, `new_state.${segment}`);
      }
      const outputs = await session.run(inputs, wanted);
      for (let segment = first; segment <= last; segment++) {
        const made = madeRows(outputs, `hidden_state_out.${segment}`, `new_state.${segment}`);
        sequence.store(segment, end - start, made);
      }
      return wantsLogits ? floats(outputs, "logits").data : null;
    },
    async head(hidden) {
      const inputs = { ...nothing, hidden_state: rowsOf(hidden, hidden_size), head: yes };
      return floats(await session.run(inputs, ["logits"]), "logits").data;
    },
    dispose: () => session.dispose(),
  };
}

/** Inputs of a run that computes nothing. */
function idle(bundle: Bundle, kvWidth: number): Record<string, GraphTensor> {
  const none = { data: new BigInt64Array(0), dims: [B, 0] };
  const inputs: Record<string, GraphTensor> = { input_ids: none, position_ids: none, head: flag(false) };
  const noPast = { data: new Float32Array(0), dims: [B, 0, kvWidth] };
  for (const segment of bundle.segments.keys()) {
    inputs[`run.${segment}`] = flag(false);
    for (const layer of layersOf(bundle, segment)) {
      inputs[`past_k.${layer}`] = noPast;
      inputs[`past_v.${layer}`] = noPast;
    }
  }
  return inputs;
}

const flag = (value: boolean): GraphTensor => ({ data: Uint8Array.of(value ? 1 : 0), dims: [] });
