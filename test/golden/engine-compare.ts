/** Greedy runs and how two of them differ. */
import type { GenerationRequest } from "../../src/generation.ts";
import type { Engine } from "../../src/model/engine.ts";
import { generate } from "../../src/model/generate.ts";
import type { Sequence } from "../../src/model/sequence.ts";

/** Two logits closer than this, in nats, are a near-tie within one runtime, whose kernels round otherwise for other shapes. */
export const NEAR_TIE_NATS = 0.05;
/**
 * As NEAR_TIE_NATS, between two runtimes: in W8A8 a float rounding difference flips the 8-bit rounding of an activation,
 * others follow, and gaps between logits move by 0.03 to 0.05 in standard deviation, with long tails (docs/log.md,
 * 2026-11-26). Five of them: a flip beyond is no rounding.
 */
export const RUNTIMES_NEAR_TIE_NATS = 0.25;
/** Largest share of tokens that near-ties may flip. */
export const MAX_FLIP_RATE = 0.005;
/** Largest difference of a logit in float32. */
export const FLOAT32_LOGIT = 1e-4;

/** One greedy token, its log-probability, and how far ahead of the second id it was, in nats. */
export interface GreedyToken {
  readonly id: number;
  readonly logprob: number;
  readonly gap: number;
}

export async function greedyRun(
  engine: Engine,
  sequence: Sequence,
  request: GenerationRequest,
): Promise<GreedyToken[]> {
  const tokens: GreedyToken[] = [];
  for await (const event of generate(engine, sequence, request, new AbortController().signal)) {
    if (event.type !== "token") continue;
    const [best, second] = event.top_logprobs ?? [];
    tokens.push({ id: event.id, logprob: event.logprob, gap: (best?.logprob ?? 0) - (second?.logprob ?? -Infinity) });
  }
  return tokens;
}

/** How runs differ from those expected. */
export class Comparison {
  tokens = 0;
  flips = 0;
  /** Largest gap, in the expected run, of a token that the other run chose otherwise. */
  widestFlip = 0;
  /** Largest difference of a log-probability while the runs agree. */
  logprobDifference = 0;
  /** Squares, summed, of how far gaps differ while the runs agree. */
  #gapSquares = 0;

  /** Counts up to the first difference: after it, the two runs read different texts. */
  add(expected: readonly GreedyToken[], actual: readonly GreedyToken[]): void {
    for (let at = 0; at < Math.max(expected.length, actual.length); at++) {
      const [left, right] = [expected[at], actual[at]];
      this.tokens++;
      if (left?.id !== right?.id) {
        this.flips++;
        // A run that ended first chose a stop id: the gap is known from the side that went on.
        this.widestFlip = Math.max(this.widestFlip, left?.gap ?? right?.gap ?? Infinity);
        return;
      }
      this.logprobDifference = Math.max(this.logprobDifference, Math.abs((left?.logprob ?? 0) - (right?.logprob ?? 0)));
      this.#gapSquares += ((left?.gap ?? 0) - (right?.gap ?? 0)) ** 2;
    }
  }

  get flipRate(): number {
    return this.flips / Math.max(1, this.tokens);
  }

  /** Standard deviation, in nats, of how far gaps differ while the runs agree. */
  get gapDeviation(): number {
    return Math.sqrt(this.#gapSquares / Math.max(1, this.tokens - this.flips));
  }

  report(title: string): void {
    const rate = (this.flipRate * 100).toFixed(3);
    const logprob = this.logprobDifference.toExponential(1);
    console.log(
      `${title}: ${this.tokens} tokens, ${this.flips} flips (${rate} %), widest gap ${this.widestFlip.toFixed(4)} nats, σ of gaps ${this.gapDeviation.toFixed(4)}, |Δlogprob| ≤ ${logprob}`,
    );
  }
}
