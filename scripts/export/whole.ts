/**
 * The whole network as one graph: rim and segments over the weights that lie in their files already. Where memory is
 * not scarce one session is faster than one a graph: each has threads of its own, which sleep between runs.
 */
import type { Checkpoint } from "./config.ts";
import type { Numerics } from "./numerics.ts";
import { GraphBuilder } from "./onnx/graph.ts";
import type { WeightStore } from "./onnx/weights.ts";
import { anyRows, headLogits, storeRim } from "./rim.ts";
import type { Safetensors } from "./safetensors.ts";
import { decoderLayers, rotation, segmentOutputs } from "./segment.ts";

/**
 * Inputs: `input_ids` int64 [B,I]; `hidden_state` f32 [B,N,d], what goes on where I is 0; `position_ids` int64 [B,T];
 * `past_k.i`, `past_v.i` f32 [B,P,Hkv·Dh]; for every segment s (from 0) bool `run.s`, and bool `head`: what is to be
 * computed. B is 1.
 * Outputs, of what was computed: `hidden_state_out.s` f32 [B,T,d], `new_state.s` as `segmentGraph`'s `new_state`,
 * `logits` f32 [B,N,V] of every row after the last segment.
 */
export function wholeGraph(
  model: Checkpoint,
  source: Safetensors,
  numerics: Numerics,
  weights: WeightStore,
): Uint8Array {
  const graph = new GraphBuilder("whole network", weights);
  const builder = { graph, model, source, numerics };
  const rim = storeRim(builder);
  const copy = (value: string) => graph.op("Identity", [value]);
  const none = (...dims: number[]) => graph.op("ConstantOfShape", [graph.int64s(...dims)]); // zeros of float32

  const ids = graph.input("input_ids", "int64", ["B", "I"]);
  const given = graph.input("hidden_state", "float32", ["B", "N", model.hiddenSize]);
  let hidden = graph.either(
    anyRows(graph, ids),
    { type: "float32", dims: ["B", "R", model.hiddenSize] },
    () => rim.embedding.embed(ids),
    () => copy(given),
  );
  const positions = rotation(builder, graph.input("position_ids", "int64", ["B", "T"]));
  for (const [s, last] of model.exits.entries()) {
    const range = { first: model.exits[s - 1] ?? 0, last };
    const types = segmentOutputs(model, range);
    const names = { hidden: `hidden_state_out.${s}`, state: `new_state.${s}` };
    const before = hidden;
    graph.eithers(
      graph.input(`run.${s}`, "bool", []),
      { [names.hidden]: types.hidden, [names.state]: types.state },
      () => {
        const inner = { hidden: graph.fresh("hidden"), state: graph.fresh("state") };
        decoderLayers(builder, before, positions, range, inner);
        return [inner.hidden, inner.state];
      },
      () => [copy(before), none(types.state.dims[0], 0, types.state.dims[2])],
    );
    graph.output(names.hidden, types.hidden.type, types.hidden.dims);
    graph.output(names.state, types.state.type, types.state.dims);
    hidden = names.hidden;
  }
  const scored = { type: "float32", dims: ["B", "R", model.vocabulary] } as const;
  graph.eithers(
    graph.input("head", "bool", []),
    { logits: scored },
    () => [headLogits(builder, rim, hidden)],
    () => [none(1, 0, model.vocabulary)],
  );
  graph.output("logits", scored.type, scored.dims);
  return graph.finish();
}
