/** Families held out: gates and thresholds that have never seen a kind of task, on prompts of that kind. */
import type { Circumstances } from "../../src/policy/route.ts";
import { parseRouter } from "../../src/policy/router.ts";
import { targetFor } from "../../src/policy/targets.ts";
import type { Sample } from "../calibrate/labels.ts";
import { seen, type Seen } from "../calibrate/play.ts";
import { calibrate, split, type RoutedModel } from "../calibrate/router-file.ts";
import { QUALITIES } from "../calibrate/thresholds.ts";
import { joined, type Routers } from "./evaluate.ts";
import { cascade as cascadeOf, gateAlone, type PlayedOutcome } from "./routers.ts";

export interface HeldOut {
  readonly families: readonly (readonly string[])[];
  readonly rows: readonly Seen[];
  readonly routers: Routers;
}

/**
 * @param groups of families that are left out together
 * @param onGroup told before each
 */
export function holdOut(
  calibration: readonly Sample[],
  test: readonly Sample[],
  groups: readonly (readonly string[])[],
  bundle: RoutedModel,
  edgeExits: readonly number[],
  onGroup: (at: number) => void,
): HeldOut {
  const { exits } = bundle;
  const now: Circumstances = { exits, edgeExits, origin: "ready", edge: "ready" };
  const parts = groups.map((families, at) => {
    onGroup(at);
    const known = calibration.filter(({ row }) => !families.includes(row.family));
    const router = parseRouter(calibrate(split(known), bundle, edgeExits), bundle);
    const rows = test.filter(({ row }) => families.includes(row.family)).map((sample) => seen(router, sample));
    const targets = QUALITIES.map((quality) => targetFor(router.cascades, exits, quality)!);
    return { rows, cascade: cascadeOf(rows, targets, now) };
  });
  const rows = parts.flatMap((part) => part.rows);
  const cascade: PlayedOutcome[] = joined(parts.map((part) => part.cascade));
  return {
    families: groups,
    rows,
    routers: { cascade, others: [{ ...gateAlone("prompt", rows, now), name: "gate 1 alone" }] },
  };
}
