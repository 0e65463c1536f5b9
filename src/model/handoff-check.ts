/** Whether a bundle can resume from a handoff. */
import type { Handoff, Numerics } from "../handoff.ts";
import type { Bundle } from "./bundle.ts";
import { HandoffError } from "./errors.ts";

/** @param foreign numerics accepted besides the bundle's own. @throws HandoffError naming the fault. */
export function checkHandoff(bundle: Bundle, handoff: Handoff, foreign: readonly Numerics[]): void {
  const { hidden_size, kv_heads, head_dim, context_length } = bundle.shape;
  const { positions, inputIds, hiddenState, innerHidden, pastK, pastV } = handoff;
  const kvWidth = kv_heads * head_dim;
  if (handoff.fingerprint !== bundle.fingerprint) {
    throw new HandoffError("fingerprint", `handoff of ${handoff.fingerprint}, this is ${bundle.fingerprint}`);
  }
  if (handoff.numerics !== bundle.numerics && !foreign.includes(handoff.numerics)) {
    throw new HandoffError("numerics", `handoff in ${handoff.numerics}, this bundle is ${bundle.numerics}`);
  }
  if (!bundle.exits.includes(handoff.exitLayer)) {
    throw new HandoffError("exit", `layer ${handoff.exitLayer} is not an exit of this bundle`);
  }
  if (!Number.isInteger(positions) || positions < 1 || hiddenState.length !== positions * hidden_size) {
    throw new HandoffError("shape", `hidden_state of ${hiddenState.length} values is not [T >= 1, ${hidden_size}]`);
  }
  for (const [layer, rows] of innerHidden) {
    if (layer >= handoff.exitLayer || !bundle.exits.includes(layer)) {
      throw new HandoffError("exit", `layer ${layer} is no exit below ${handoff.exitLayer}`);
    }
    if (rows.length !== hiddenState.length) {
      throw new HandoffError("shape", `hidden states after layer ${layer} are not [${positions}, ${hidden_size}]`);
    }
  }
  if (inputIds.length < positions || inputIds.length > context_length) {
    throw new HandoffError("length", `${inputIds.length} ids with ${positions} states, context ${context_length}`);
  }
  for (const [name, layers] of Object.entries({ past_k: pastK, past_v: pastV })) {
    if (layers.length !== handoff.exitLayer || layers.some((layer) => layer.length !== positions * kvWidth)) {
      throw new HandoffError("shape", `${name} is not ${handoff.exitLayer} layers of [${positions}, ${kvWidth}]`);
    }
  }
}
