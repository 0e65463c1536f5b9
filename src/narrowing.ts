/** How a tenant, a key or a request narrows the exit choice; the narrowest of them wins. A leaf. */
import { z } from "zod";

/** Deepest LLaMA: 126 layers. */
const MAX_LAYER = 256;

/** Absent or null: not narrowed. */
export const narrowingFields = {
  quality: z
    .number()
    .gt(0)
    .max(1)
    .nullish()
    .meta({ description: "Share of the deepest exit's quality to keep; 1: as good as the deepest exit." }),
  min_exit: z.int().min(1).max(MAX_LAYER).nullish().meta({ description: "No exit shallower than this answers." }),
  max_exit: z.int().min(1).max(MAX_LAYER).nullish().meta({ description: "No exit deeper than this answers." }),
};
const narrowingSchema = z.strictObject(narrowingFields);
export type Narrowing = z.infer<typeof narrowingSchema>;

/** What is allowed when all of them hold. */
export interface Narrowed {
  /** null: nobody named one. */
  readonly quality: number | null;
  readonly minExit: number;
  readonly maxExit: number;
}

/** The highest quality and shallowest limit, the lowest deepest limit. Pure. */
export function narrowest(...narrowings: readonly Narrowing[]): Narrowed {
  const given = (name: keyof Narrowing): number[] => narrowings.flatMap((narrowing) => narrowing[name] ?? []);
  const qualities = given("quality");
  return {
    quality: qualities.length === 0 ? null : Math.max(...qualities),
    minExit: Math.max(0, ...given("min_exit")),
    maxExit: Math.min(Infinity, ...given("max_exit")),
  };
}
