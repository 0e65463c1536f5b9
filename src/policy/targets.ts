/** From a quality target to thresholds: what the calibration found for each range of allowed exits. Pure. */
import { z } from "zod";

const probability = z.number().min(0).max(1);

/** An exit is taken when its score reaches the threshold of the gate that asks. All of one cascade, chosen jointly. */
export const thresholdsSchema = z.strictObject({
  prompt: probability,
  prefill: probability,
  /** Gate 3 escalates below this. */
  decode: probability,
  /** Gate 1's when it decides alone, because the edge cannot take the prompt. */
  alone: probability,
});
export type Thresholds = z.infer<typeof thresholdsSchema>;

/** What the thresholds gave on the prompts they were chosen by. */
export const expectationSchema = z.strictObject({
  /** Quality relative to the range's deepest exit, with a 95 % bootstrap interval. */
  quality: z.strictObject({ lower: z.number(), value: z.number(), upper: z.number() }),
  /** Layers · tokens relative to the range's deepest exit. */
  cost: z.number(),
  /** Share of answers by the gate that decided last. */
  gates: z.strictObject({ prompt: probability, prefill: probability, decode: probability }),
  /** Share of answers by the exit that ended them, by layer. */
  exits: z.record(z.string(), probability),
});
export type Expectation = z.infer<typeof expectationSchema>;

export const targetSchema = z.strictObject({
  quality: probability,
  thresholds: thresholdsSchema,
  expected: expectationSchema,
});
export type Target = z.infer<typeof targetSchema>;

const THRESHOLDS = ["prompt", "prefill", "decode", "alone"] as const;

export const cascadeSchema = z.strictObject({
  min_exit: z.int().positive(),
  max_exit: z.int().positive(),
  /** Ascending by quality; no threshold ever falls, so that a higher target never picks a shallower exit. */
  targets: z
    .array(targetSchema)
    .min(1)
    .refine(
      (targets) =>
        targets.every(({ quality, thresholds }, at) => {
          const before = targets[at - 1];
          if (before === undefined) return true;
          return quality > before.quality && THRESHOLDS.every((name) => thresholds[name] >= before.thresholds[name]);
        }),
      "targets must rise, and no threshold may fall",
    ),
});
export type Cascade = z.infer<typeof cascadeSchema>;

/** A target, and the range of exits that it was chosen for. */
export interface RangedTarget extends Target {
  /** e.g. `3-12` */
  readonly range: string;
}

/** The name of a range. */
export function rangeName({ min_exit, max_exit }: Pick<Cascade, "min_exit" | "max_exit">): string {
  return `${min_exit}-${max_exit}`;
}

/**
 * The thresholds that keep a quality within a range of exits: those of the next higher target that was calibrated.
 * @param exits allowed, ascending; a range with gaps has the thresholds of its ends
 * @returns null when there is nothing to choose, or no calibration for the range
 */
export function targetFor(
  cascades: readonly Cascade[],
  exits: readonly number[],
  quality: number,
): RangedTarget | null {
  const [from, to] = [exits[0], exits.at(-1)];
  const cascade = cascades.find(({ min_exit, max_exit }) => min_exit === from && max_exit === to);
  const target = cascade?.targets.find((one) => one.quality >= quality) ?? cascade?.targets.at(-1);
  return cascade && target ? { ...target, range: rangeName(cascade) } : null;
}
