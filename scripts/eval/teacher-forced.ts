/** Per-exit negative log-likelihood of given token ids: every exit reads the same texts. */
import type { Engine } from "../../src/model/engine.ts";
import { logSumExp } from "../../src/model/sampler.ts";

/** Positions whose logits are asked for at once: bounds the memory of `[N, V]`. */
const ROWS_AT_ONCE = 64;

/**
 * NLL in nats of `ids[p + 1]` after reading `ids[0..p]`, for p = `from` … length − 2.
 * @returns per exit of the engine, one value a position.
 */
export async function teacherForced(engine: Engine, ids: readonly number[], from = 0): Promise<number[][]> {
  const sequence = engine.newSequence(ids);
  const vocabulary = engine.bundle.shape.vocab_size;
  const results: number[][] = [];
  for (const exit of engine.exits) {
    await engine.advance(sequence, exit, ids.length);
    const values: number[] = [];
    for (let start = from; start < ids.length - 1; start += ROWS_AT_ONCE) {
      const end = Math.min(start + ROWS_AT_ONCE, ids.length - 1);
      const positions = Array.from({ length: end - start }, (_, i) => start + i);
      const logits = await engine.logits(sequence, exit, positions); // [N, V]
      for (const [row, position] of positions.entries()) {
        const scores = logits.subarray(row * vocabulary, (row + 1) * vocabulary);
        values.push(logSumExp(scores) - scores[ids[position + 1]!]!);
      }
    }
    results.push(values);
  }
  return results;
}

export function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
