/** Labels to the three gates' parameters. Pure. */
import { decodeFeatures, RunningConfidence } from "../../src/policy/decode-gate.ts";
import { sigmoid } from "../../src/policy/logistic.ts";
import { prefillFeatures } from "../../src/policy/prefill-gate.ts";
import type { RouterFile } from "../../src/policy/router.ts";
import { promptFeatures, type Features } from "../../src/policy/text-features.ts";
import { dense, fitCalibrated, quantise, type Fitted } from "./fit.ts";
import type { Sample } from "./labels.ts";

/** 16,384 buckets × 4 exits are 64 kB: a few thousand words and pairs collide seldom. */
export const BUCKETS = 16_384;
/** Ridge penalties tried: rows are few against weights. */
const PENALTIES = [1e-4, 3e-4, 1e-3, 3e-3] as const;
const PROBE_PENALTIES = [1e-3, 1e-2, 5e-2] as const;

export type Gates = Pick<RouterFile, "prompt" | "probes">;

/** What the gates predict: this exit's answer is as good as the deepest exit's. */
export function asGood({ labels: { exits } }: Sample, exit: number): boolean {
  return exits[exit]?.right === true || exits.at(-1)?.right !== true;
}

/** @param exits of the bundle, ascending, as the samples were labelled */
export function fitGates(samples: readonly Sample[], exits: readonly number[]): Gates {
  const prompts = samples.map(({ row }) => promptFeatures(row.prompt, BUCKETS));
  const fitted = exits.map((_, at) => fitPrompt(prompts, labelsOf(samples, at)));
  const probes = exits.slice(0, -1).map((exit, at) => fitProbe(samples, at, exit, fitted[at]?.heldOut ?? []));
  return { prompt: promptParameters(fitted), probes };
}

const labelsOf = (samples: readonly Sample[], exit: number): boolean[] => samples.map((sample) => asGood(sample, exit));

/** One exit's row of gate 1. */
export function fitPrompt(prompts: readonly Features[], labels: readonly boolean[]): Fitted {
  return fitCalibrated(prompts, labels, BUCKETS, PENALTIES);
}

/** Gate 1's rows as router.json has them. */
export function promptParameters(fitted: readonly Pick<Fitted, "model">[]): RouterFile["prompt"] {
  const rows = fitted.map(({ model }) => quantise(model.weights));
  return {
    buckets: BUCKETS,
    weights: Buffer.concat(rows.map(({ values }) => Buffer.from(values.buffer))).toString("base64"),
    scale: rows.map(({ scale }) => scale),
    bias: fitted.map(({ model }) => model.bias),
  };
}

/** Gates 2 and 3 of one exit. Each sees the scores of the gate before it as that gate gives them to strangers. */
function fitProbe(samples: readonly Sample[], at: number, exit: number, prompt: readonly number[]) {
  const labels = labelsOf(samples, at);
  const seen = samples.map(({ labels: { exits } }, row) => ({
    ...exits[at],
    features: dense(prefillFeatures(sigmoid(prompt[row] ?? 0), exits[at]!.prefill)),
  }));
  const prefill = fitCalibrated(
    seen.map(({ features }) => features),
    labels,
    seen[0]?.features.values.length ?? 0,
    PROBE_PENALTIES,
  );
  const tokens = seen.flatMap(({ confidences = [] }, row) => {
    const running = new RunningConfidence();
    const score = sigmoid(prefill.heldOut[row] ?? 0);
    return confidences.map((confidence) => ({
      features: dense(decodeFeatures(score, running.push(confidence))),
      label: labels[row] === true,
    }));
  });
  const decode = fitCalibrated(
    tokens.map(({ features }) => features),
    tokens.map(({ label }) => label),
    tokens[0]?.features.values.length ?? 0,
    [1e-4],
  );
  return {
    exit,
    prefill: Buffer.from(Float32Array.from(prefill.model.weights).buffer).toString("base64"),
    prefill_bias: prefill.model.bias,
    decode: [...decode.model.weights],
    decode_bias: decode.model.bias,
  };
}
