/** How much memory an origin gives to the prompts that it has read, where nobody says. Pure but for the asking. */
import { totalmem } from "node:os";

/** Share of the memory that this process may use. */
const SHARE = 1 / 8;
/** Megabytes: some ten conversations at SmolLM2-135M's shape, and more than a thousand. */
const [LEAST_MB, MOST_MB] = [64, 4_096];
const MEGABYTE = 1e6;

/** @param memory bytes that this process may use */
export function defaultCacheMb(memory: number): number {
  return Math.floor(Math.min(Math.max((memory * SHARE) / MEGABYTE, LEAST_MB), MOST_MB));
}

/** Bytes that this process may use: its container's, where it has one, else the machine's. */
export function usableMemory(): number {
  const constrained = process.constrainedMemory(); // 0, or beyond any memory, where nothing constrains it
  return constrained > 0 ? Math.min(constrained, totalmem()) : totalmem();
}
