/** What a decision asks of the tiers. Pure. */
import type { EdgeJob } from "./edge/job.ts";
import type { GenerationRequest } from "./generation.ts";
import type { Chosen, LaterGates } from "./policy/route.ts";

/** The shard's job: the generation at the edge's exit, and what the later gates may do. */
export function edgeJob(request: GenerationRequest, later: LaterGates | null, shadow: Chosen | null): EdgeJob {
  if (later === null) return { request, gates: null };
  const { ladder, prefillTo, decodeTo, target } = later;
  const gates = {
    ladder: [...ladder],
    prefill_to: prefillTo,
    decode_to: decodeTo,
    target: chosen(target),
    shadow: shadow && chosen(shadow),
  };
  return { request, gates };
}

const chosen = ({ range, quality, thresholds }: Chosen): Chosen => ({ range, quality, thresholds });

/**
 * The part of the origin's request that lets tokens leave at shallower exits.
 * @param sure how probable their most probable token must be; null: none may leave
 * @param exits that may answer
 */
export function earlyExit(
  sure: number | null,
  exits: readonly number[],
  deepest: number,
): Pick<GenerationRequest, "decoding"> {
  const shallower = exits.filter((exit) => exit < deepest);
  if (sure === null || shallower.length === 0) return {};
  return {
    decoding: { kind: "early_exit", thresholds: Object.fromEntries(shallower.map((exit) => [String(exit), sure])) },
  };
}
