/** Evaluations as Markdown tables and plots. Pure. */
import type { Interval } from "../calibrate/bootstrap.ts";
import type { Reliability } from "../calibrate/reliability.ts";
import { table } from "../bench/report.ts";
import type { Evaluation } from "./evaluate.ts";
import { plot, type Series } from "./plot.ts";

const share = (value: number): string => value.toFixed(3);
const range = ({ lower, value, upper }: Interval): string => `${share(value)} [${share(lower)}, ${share(upper)}]`;
const dollars = (micro: number): string => `$${(micro / 1e6).toFixed(5)}`;

export function routersTable({ routers }: Evaluation): string {
  const rows = routers.map(({ name, apgr, cpt50, cpt80 }) => [name, range(apgr), share(cpt50), share(cpt80)]);
  return table(["router", "APGR [95 %]", "CPT(50 %)", "CPT(80 %)"], rows);
}

export function operatingTable({ operating }: Evaluation): string {
  const rows = operating.map(({ target, quality, cost, microUsd, saved, exits, gates, random }) => [
    String(target),
    range(quality),
    share(cost),
    dollars(microUsd),
    share(saved),
    `${share(random.mean)} [${share(random.lower)}, ${share(random.upper)}]`,
    Object.values(exits)
      .map((value) => Math.round(value * 100))
      .join(" · "),
    Object.values(gates)
      .map((value) => Math.round(value * 100))
      .join(" · "),
  ]);
  const exits = Object.keys(operating[0]?.exits ?? {}).join(" · ");
  const head = ["target", "quality kept [95 %]", "cost", "per 1,000", "saved", "random, same exits [95 %]"];
  return table([...head, `% at exits ${exits}`, "% by gates 1 · 2 · 3"], rows);
}

export function headline({ prompts, right, deepestMicroUsd, oracle, cascadeMinusPrompt }: Evaluation): string {
  const exits = Object.entries(right).map(([exit, value]) => `exit ${exit} ${(value * 100).toFixed(1)} %`);
  return (
    `${prompts} prompts; right: ${exits.join(", ")}. Always deepest: ${dollars(deepestMicroUsd)} per 1,000. ` +
    `Oracle: quality ${share(oracle.quality)} at cost ${share(oracle.cost)}. ` +
    `APGR of the cascade minus gate 1 alone: ${range(cascadeMinusPrompt)}.`
  );
}

/** Performance gap recovered against normalised cost. */
export function curvePlot(title: string, { routers }: Evaluation): string {
  const lines: Series[] = routers.map(({ name, curve }) => ({
    name,
    points: curve.map(({ cost, pgr }) => ({ x: cost, y: pgr })),
    dashed: name === "random" || name === "oracle",
  }));
  const top = Math.max(1.1, ...routers.flatMap(({ curve }) => curve.map(({ pgr }) => pgr)));
  const bottom = Math.min(0, ...routers.flatMap(({ curve }) => curve.map(({ pgr }) => pgr)));
  return plot(
    {
      title,
      x: { label: "cost (0: shallowest exit, 1: deepest), layers · tokens", from: 0, to: 1 },
      y: { label: "performance gap recovered", from: bottom, to: Math.ceil(top * 10) / 10 },
    },
    lines,
  );
}

export function reliabilityPlot(
  title: string,
  gates: readonly { readonly name: string; readonly reliability: Reliability }[],
): string {
  const series: Series[] = gates.map(({ name, reliability }) => ({
    name: `${name}, error ${share(reliability.error)}`,
    points: reliability.bins.map(({ predicted, observed }) => ({ x: predicted, y: observed })),
  }));
  const ideal: Series = {
    name: "as predicted",
    dashed: true,
    points: [
      { x: 0, y: 0 },
      { x: 1, y: 1 },
    ],
  };
  return plot({ title, x: { label: "predicted", from: 0, to: 1 }, y: { label: "observed", from: 0, to: 1 } }, [
    ...series,
    ideal,
  ]);
}
