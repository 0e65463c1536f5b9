/** `npm run route-eval`: what the router keeps and saves on test prompts, against what else one could do. */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import type { Circumstances } from "../src/policy/route.ts";
import { parseRouter, type Router as RouterParameters } from "../src/policy/router.ts";
import { targetFor } from "../src/policy/targets.ts";
import { build } from "./build.ts";
import { dense, fitCalibrated, predict } from "./calibrate/fit.ts";
import { asGood } from "./calibrate/gates.ts";
import { labelled, type Sample } from "./calibrate/labels.ts";
import { seen, type Seen } from "./calibrate/play.ts";
import { reliability } from "./calibrate/reliability.ts";
import { readRows } from "./calibrate/rows.ts";
import { QUALITIES } from "./calibrate/thresholds.ts";
import { BUNDLE, CHECKPOINT } from "./checkpoint.ts";
import { progressLine } from "./export/progress.ts";
import { evaluate, type Evaluation, type Routers } from "./route-eval/evaluate.ts";
import { holdOut } from "./route-eval/held-out.ts";
import type { Router } from "./route-eval/metrics.ts";
import { curvePlot, headline, operatingTable, reliabilityPlot, routersTable } from "./route-eval/report.ts";
import { cascade, gateAlone } from "./route-eval/routers.ts";
import { sigmoid } from "../src/policy/logistic.ts";

/** Groups of families that are left out together. */
const GROUPS = 5;

const HELP = `CHECKPOINT=DIR npm run route-eval [-- options]

Plays the router of a checkpoint (now ${CHECKPOINT}) over labelled test prompts: the cascade at every quality target, each gate alone,
random exits at matched cost, prompt length, and the oracle. Prints tables and one line of JSON, and writes
route-eval.json and the plots. Definitions: docs/routing.md. Labels are kept in build/calibration.

  --rows FILE        test prompts                                                   (CHECKPOINT/test.jsonl)
  --calibration FILE prompts the router was calibrated by                           (CHECKPOINT/validation.jsonl)
  --out DIR          where JSON and plots go                                        (docs/routing)
  --no-held-out      leaves out the calibrations without whole families (minutes)
  --help             this text`;

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      rows: { type: "string", default: join(CHECKPOINT, "test.jsonl") },
      calibration: { type: "string", default: join(CHECKPOINT, "validation.jsonl") },
      out: { type: "string", default: "docs/routing" },
      "no-held-out": { type: "boolean", default: false },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) return console.log(HELP);
  const bundle = await build();
  const router = parseRouter(JSON.parse(readFileSync(join(CHECKPOINT, "router.json"), "utf8")), bundle);
  const calibration = await labelled(bundle, BUNDLE, readRows(values.calibration));
  const test = await labelled(bundle, BUNDLE, readRows(values.rows));

  const evaluations: Record<string, Evaluation> = { all: evaluateRouter(router, test, calibration) };
  const splits = [...new Set(test.map(({ row }) => row.split))].toSorted();
  for (const split of splits.length > 1 ? splits : []) {
    evaluations[split] = evaluateRouter(
      router,
      test.filter(({ row }) => row.split === split),
      calibration,
    );
  }
  if (!values["no-held-out"]) {
    const groups = groupsOf([...new Set(test.map(({ row }) => row.family))].toSorted());
    const progress = progressLine(process.stderr);
    const held = holdOut(calibration, test, groups, bundle, router.edgeExits, (at) =>
      progress(at, groups.length, `calibrating without ${groups[at]?.join(", ")}`),
    );
    evaluations["families held out"] = evaluate(
      held.rows,
      QUALITIES.map((quality) => ({ quality })),
      held.routers,
    );
  }
  for (const [name, evaluation] of Object.entries(evaluations)) {
    console.log(
      `\n## ${name}\n\n${headline(evaluation)}\n\n${routersTable(evaluation)}\n\n${operatingTable(evaluation)}`,
    );
  }
  mkdirSync(values.out, { recursive: true });
  const write = (file: string, text: string): void => writeFileSync(join(values.out, file), text);
  for (const [name, evaluation] of Object.entries(evaluations)) {
    write(`cost-quality-${name.replaceAll(/[ _]/g, "-")}.svg`, curvePlot(`Cost and quality: ${name}`, evaluation));
  }
  write("reliability.svg", reliabilityPlot("Gates' probabilities on test prompts", diagrams(router, test)));
  write(
    "route-eval.json",
    `${JSON.stringify({ fingerprint: bundle.fingerprint, evaluations: rounded(evaluations) })}\n`,
  );
  console.log(JSON.stringify(rounded(Object.fromEntries(Object.entries(evaluations).map(brief)))));
}

function evaluateRouter(router: RouterParameters, test: readonly Sample[], calibration: readonly Sample[]): Evaluation {
  const { exits, edgeExits } = router;
  const now: Circumstances = { exits, edgeExits, origin: "ready", edge: "ready" };
  const rows = test.map((sample) => seen(router, sample));
  const targets = QUALITIES.map((quality) => targetFor(router.cascades, exits, quality)!);
  const named = (gate: "prompt" | "prefill" | "decode", name: string): Router => ({
    ...gateAlone(gate, rows, now),
    name,
  });
  const routers: Routers = {
    cascade: cascade(rows, targets, now),
    others: [
      named("prompt", "gate 1 alone"),
      named("prefill", "gate 2 alone"),
      named("decode", "gate 3 alone"),
      { ...gateAlone("prompt", byLength(rows, calibration), now), name: "prompt length" },
    ],
  };
  return evaluate(rows, targets, routers);
}

/** The same prompts as a router sees them that knows nothing but their length. */
function byLength(rows: readonly Seen[], calibration: readonly Sample[]): Seen[] {
  const length = (tokens: number) => dense([Math.log(tokens)]);
  const models = (rows[0]?.exits ?? []).map((_, at) =>
    fitCalibrated(
      calibration.map(({ labels }) => length(labels.promptTokens)),
      calibration.map((sample) => asGood(sample, at)),
      1,
      [0],
    ),
  );
  return rows.map((row) => ({
    ...row,
    prompt: new Map(row.exits.map((exit, at) => [exit, sigmoid(predict(models[at]!.model, length(row.promptTokens)))])),
  }));
}

function diagrams(router: RouterParameters, test: readonly Sample[]) {
  const rows = test.map((sample) => seen(router, sample));
  return router.edgeExits.flatMap((exit) => {
    const at = router.exits.indexOf(exit);
    const truth = test.map((sample) => asGood(sample, at));
    const gate = (name: string, scores: number[]) => ({
      name: `${name}, exit ${exit}`,
      reliability: reliability(scores, truth),
    });
    return [
      gate(
        "gate 1",
        rows.map((row) => row.prompt.get(exit) ?? 0),
      ),
      gate(
        "gate 2",
        rows.map((row) => row.prefill[at] ?? 0),
      ),
      gate(
        "gate 3",
        rows.map((row) => row.decode[at]?.at(-1) ?? row.prefill[at] ?? 0),
      ),
    ];
  });
}

/** As even as can be. */
function groupsOf(families: readonly string[]): string[][] {
  const groups: string[][] = Array.from({ length: Math.min(GROUPS, families.length) }, () => []);
  for (const [at, family] of families.entries()) groups[at % groups.length]?.push(family);
  return groups;
}

function brief([name, { prompts, routers, operating, cascadeMinusPrompt, oracle }]: [string, Evaluation]) {
  const summaries = routers.map(({ name: router, apgr, cpt50, cpt80 }) => ({ name: router, apgr, cpt50, cpt80 }));
  return [
    name,
    {
      prompts,
      oracle,
      routers: summaries,
      operating: operating.find(({ target }) => target === 0.95),
      cascadeMinusPrompt,
    },
  ];
}

/** Four decimals: more is noise. */
function rounded(value: unknown): unknown {
  return JSON.parse(
    JSON.stringify(value, (_, one: unknown) => (typeof one === "number" ? Math.round(one * 1e4) / 1e4 : one)),
  );
}

await main();
