/** Labelled prompts to router.json: gates on one part, thresholds on another, and a report on a third. Pure. */
import type { Bundle } from "../../src/model/bundle.ts";
import { ROUTER_FORMAT, parseRouter, type RouterFile } from "../../src/policy/router.ts";
import { targetFor } from "../../src/policy/targets.ts";
import { areaUnderCurve } from "./fit.ts";
import { asGood, fitGates } from "./gates.ts";
import type { Sample } from "./labels.ts";
import { ended, play, seen, type Seen } from "./play.ts";
import { reliability } from "./reliability.ts";
import { chooseCascades, DEFAULT_QUALITY } from "./thresholds.ts";

/** The three parts of the prompts. */
export interface Parts<T> {
  readonly fit: readonly T[];
  readonly thresholds: readonly T[];
  readonly report: readonly T[];
}

/** Of ten: the first five fit the gates, the next three choose the thresholds, the last two are reported on. */
const FIT_TENTHS = 5;
const THRESHOLD_TENTHS = 8;
/** Fewer prompts choose no thresholds that mean anything. */
const LEAST_PROMPTS = 50;

/** Splits by the rows' keys, so that a prompt falls into the same part in every run. @throws Error when they are few */
export function split(samples: readonly Sample[]): Parts<Sample> {
  if (samples.length < LEAST_PROMPTS) {
    throw new Error(`${samples.length} prompts are too few to calibrate by: ${LEAST_PROMPTS} is the least`);
  }
  const tenth = ({ row }: Sample): number => Number.parseInt(row.key.slice(0, 8), 16) % 10;
  return {
    fit: samples.filter((sample) => tenth(sample) < FIT_TENTHS),
    thresholds: samples.filter((sample) => tenth(sample) >= FIT_TENTHS && tenth(sample) < THRESHOLD_TENTHS),
    report: samples.filter((sample) => tenth(sample) >= THRESHOLD_TENTHS),
  };
}

export type RoutedModel = Pick<Bundle, "fingerprint" | "exits" | "shape">;

/** @param edgeExits of the bundle's exits, those that the edge serves */
export function calibrate(parts: Parts<Sample>, bundle: RoutedModel, edgeExits: readonly number[]): RouterFile {
  const { exits, fingerprint } = bundle;
  const draft: RouterFile = {
    format: ROUTER_FORMAT,
    fingerprint,
    exits: [...exits],
    edge_exits: exits.filter((exit) => edgeExits.includes(exit)),
    default_quality: DEFAULT_QUALITY,
    ...fitGates(parts.fit, exits),
    cascades: [],
    report: {},
  };
  const gates = parseRouter(draft, bundle);
  const choosing = parts.thresholds.map((sample) => seen(gates, sample));
  const cascades = chooseCascades(choosing, exits, draft.edge_exits);
  const file = { ...draft, cascades };
  return { ...file, report: reportOf(file, parts, bundle) };
}

function reportOf(file: RouterFile, parts: Parts<Sample>, bundle: RoutedModel): RouterFile["report"] {
  const router = parseRouter(file, bundle);
  const { exits } = router;
  const rows = parts.report.map((sample) => seen(router, sample));
  const deepest = exits.at(-1) ?? 0;
  const best = rows.map((row) => ended(row, deepest, "prompt"));
  const target = targetFor(router.cascades, exits, router.defaultQuality);
  const now = { exits, edgeExits: router.edgeExits, origin: "ready", edge: "ready" } as const;
  const cascade = target === null ? best : rows.map((row) => play(row, target, now));
  const right = (played: readonly { readonly right: boolean }[]): number =>
    mean(played.map((one) => Number(one.right)));
  return {
    prompts: { fit: parts.fit.length, thresholds: parts.thresholds.length, report: parts.report.length },
    exits: exits.map((exit, at) => exitReport(rows, parts.report, exit, at)),
    cascade: {
      quality_target: router.defaultQuality,
      right: round(right(cascade)),
      quality: round(right(cascade) / Math.max(right(best), 1e-9)),
      cost: round(mean(cascade.map(({ cost }) => cost)) / mean(best.map(({ cost }) => cost))),
    },
  };
}

function exitReport(rows: readonly Seen[], samples: readonly Sample[], exit: number, at: number) {
  const truth = samples.map((sample) => asGood(sample, at));
  const gate = (scores: readonly number[]) => ({
    auc: nullable(areaUnderCurve(scores, truth)),
    calibration_error: round(reliability(scores, truth).error),
  });
  const deepest = exit === rows[0]?.exits.at(-1);
  return {
    exit,
    right: round(mean(rows.map((row) => Number(row.right[at])))),
    as_good_as_deepest: round(mean(truth.map(Number))),
    gate_1: deepest ? null : gate(rows.map((row) => row.prompt.get(exit) ?? 0)),
    gate_2: deepest ? null : gate(rows.map((row) => row.prefill[at] ?? 0)),
    gate_3: deepest ? null : gate(rows.map((row) => row.decode[at]?.at(-1) ?? row.prefill[at] ?? 0)),
  };
}

const mean = (values: readonly number[]): number =>
  values.reduce((sum, value) => sum + value, 0) / Math.max(values.length, 1);
const round = (value: number): number => Math.round(value * 1e3) / 1e3;
/** JSON has no NaN: with one class alone there is no curve. */
const nullable = (value: number): number | null => (Number.isNaN(value) ? null : round(value));
