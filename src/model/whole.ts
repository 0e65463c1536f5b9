/** The network in one session: a step is one run, whatever it computes. */
import type { Bundle } from "./bundle.ts";
import { addPast, B, floats, idsOf, layersOf, type Network, positionsOf, rowsOf, storeMade } from "./network.ts";
import type { GraphSession, GraphTensor, GraphTensors } from "./runtime.ts";

/** Takes ownership of the session. */
export function wholeNetwork(session: GraphSession, bundle: Bundle): Network {
  const width = bundle.shape.hidden_size;
  const segments = [...bundle.segments.keys()].map((segment) => ({
    run: `run.${segment}`,
    layers: layersOf(bundle, segment),
    made: { hidden: `hidden_state_out.${segment}`, state: `new_state.${segment}` },
  }));
  const yes = session.tensor(Uint8Array.of(1), []);
  const idle = idleInputs(session, bundle);
  // A run changes a few dozen of its inputs: one object serves them all, and is idle between two.
  const inputs: Record<string, GraphTensor> = { ...idle };
  const run = async (setInputs: () => void, wanted: readonly string[]): Promise<GraphTensors> => {
    try {
      setInputs();
      return await session.run(inputs, wanted);
    } finally {
      Object.assign(inputs, idle);
    }
  };
  return {
    depth: segments.length,
    async run(sequence, span, wantsLogits) {
      const { first, last, start, end } = span;
      const running = segments.slice(first, last + 1);
      const states = running.flatMap(({ made }) => [made.hidden, made.state]);
      const setInputs = () => {
        inputs.position_ids = positionsOf(session, span);
        if (first === 0) inputs.input_ids = idsOf(session, sequence, span);
        else inputs.hidden_state = rowsOf(session, sequence.hidden(first - 1, start, end), width);
        if (wantsLogits) inputs.head = yes;
        for (const [at, segment] of running.entries()) {
          inputs[segment.run] = yes;
          addPast(inputs, session, sequence, first + at, segment.layers);
        }
      };
      const outputs = await run(setInputs, wantsLogits ? ["logits", ...states] : states);
      for (const [at, { made }] of running.entries()) storeMade(sequence, first + at, end - start, outputs, made);
      return wantsLogits ? floats(outputs, "logits").data : null;
    },
    async head(hidden) {
      const setInputs = () => {
        inputs.hidden_state = rowsOf(session, hidden, width);
        inputs.head = yes;
      };
      return floats(await run(setInputs, ["logits"]), "logits").data;
    },
    dispose: () => session.dispose(),
  };
}

/** Inputs of a run that computes nothing. */
function idleInputs(session: GraphSession, bundle: Bundle): GraphTensors {
  const { hidden_size, kv_heads, head_dim } = bundle.shape;
  const none = session.tensor(new BigInt64Array(0), [B, 0]);
  const no = session.tensor(Uint8Array.of(0), []);
  const inputs: Record<string, GraphTensor> = {
    input_ids: none,
    position_ids: none,
    hidden_state: rowsOf(session, new Float32Array(0), hidden_size),
    head: no,
  };
  const noPast = session.tensor(new Float32Array(0), [B, 0, kv_heads * head_dim]);
  for (const segment of bundle.segments.keys()) {
    inputs[`run.${segment}`] = no;
    for (const { keys, values } of layersOf(bundle, segment)) inputs[keys] = inputs[values] = noPast;
  }
  return inputs;
}
