/**
 * From logits to one id. Pure: randomness is a function of (seed, absolute position), so that the same request gives the
 * same tokens on every runtime, with or without a handoff.
 *
 * Order, as in Hugging Face's generate: penalties, temperature, top-k, top-p, min-p. The draw walks the kept ids in the
 * order of their ids, so that a rounding difference in one logit moves the borders little and never reorders them.
 */
import type { Sampling, TokenLogprob } from "../generation.ts";

/** How sure a distribution is: softmax at temperature 1, without penalties. */
export interface Confidence {
  /** Probability of the most probable id. */
  readonly top1: number;
  /** top1 minus the second probability. */
  readonly margin: number;
  /** Nats. */
  readonly entropy: number;
}

/** The tokens that penalties look at. */
export interface Seen {
  /** Every id of prompt and answer. */
  readonly all: ReadonlySet<number>;
  /** How often each id occurs in the answer. */
  readonly answer: ReadonlyMap<number, number>;
}

/** ln of the sum of exp(logits). */
export function logSumExp(logits: Float32Array): number {
  let max = -Infinity;
  for (const logit of logits) if (logit > max) max = logit;
  let sum = 0;
  for (const logit of logits) sum += Math.exp(logit - max);
  return max + Math.log(sum);
}

/** @param normaliser `logSumExp(logits)`. */
export function confidenceOf(logits: Float32Array, normaliser: number): Confidence {
  let [first, second, entropy] = [-Infinity, -Infinity, 0];
  for (const logit of logits) {
    const logprob = logit - normaliser;
    if (logprob > first) [first, second] = [logprob, first];
    else if (logprob > second) second = logprob;
    const probability = Math.exp(logprob);
    if (probability > 0) entropy -= probability * logprob;
  }
  const top1 = Math.exp(first);
  return { top1, margin: top1 - Math.exp(second), entropy: Math.max(0, entropy) };
}

/** The `count` most probable ids, best first, ties by lowest id. @param normaliser `logSumExp(logits)`. */
export function topLogprobs(logits: Float32Array, normaliser: number, count: number): TokenLogprob[] {
  const best: number[] = [];
  const logitOf = (id: number | undefined) => (id === undefined ? -Infinity : (logits[id] ?? -Infinity));
  for (let id = 0; id < logits.length; id++) {
    if (best.length === count && logitOf(id) <= logitOf(best.at(-1))) continue;
    let at = best.length;
    while (at > 0 && logitOf(best[at - 1]) < logitOf(id)) at--;
    best.splice(at, 0, id);
    if (best.length > count) best.pop();
  }
  return best.map((id) => ({ id, logprob: logitOf(id) - normaliser }));
}

/**
 * The next id.
 *
 * @param logits `[V]`; not changed.
 * @param position absolute position that the id will take.
 */
export function sample(logits: Float32Array, sampling: Sampling, seen: Seen, position: number): number {
  const penalised = penalise(logits, sampling, seen);
  if (sampling.temperature === 0) return argmax(penalised);
  const weights = keptWeights(penalised, sampling); // [V], 0 = dropped
  let total = 0;
  for (const weight of weights) total += weight;
  const target = uniform(sampling.seed, position) * total;
  let [sum, last] = [0, 0];
  for (let id = 0; id < weights.length; id++) {
    const weight = weights[id] ?? 0;
    if (weight === 0) continue;
    sum += weight;
    last = id;
    if (sum > target) return id;
  }
  return last; // rounding: target within one ulp of the total
}

/**
 * A number in [0, 1) for each (seed, position): two 32-bit words of a counter-based generator, each the counter through
 * the finaliser of MurmurHash3 (Appleby, public domain) twice, keyed by the seed.
 */
export function uniform(seed: number, position: number): number {
  const high = mix(mix(Math.imul(position, 2) ^ 0x9e3779b9) ^ seed);
  const low = mix(mix((Math.imul(position, 2) + 1) ^ 0x9e3779b9) ^ seed);
  return ((high >>> 5) * 2 ** 26 + (low >>> 6)) / 2 ** 53;
}

function mix(word: number): number {
  let hash = word | 0;
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return hash ^ (hash >>> 16);
}

/** The logits themselves when no penalty is on, else a changed copy. */
function penalise(logits: Float32Array, sampling: Sampling, seen: Seen): Float32Array {
  const { repetition_penalty, presence_penalty, frequency_penalty } = sampling;
  if (repetition_penalty === 1 && presence_penalty === 0 && frequency_penalty === 0) return logits;
  const changed = logits.slice();
  if (repetition_penalty !== 1) {
    for (const id of seen.all) {
      const logit = changed[id] ?? 0;
      changed[id] = logit > 0 ? logit / repetition_penalty : logit * repetition_penalty;
    }
  }
  for (const [id, count] of seen.answer) {
    changed[id] = (changed[id] ?? 0) - presence_penalty - frequency_penalty * count;
  }
  return changed;
}

/** The id of the largest logit, the lowest one of several. */
function argmax(logits: Float32Array): number {
  let best = 0;
  for (let id = 1; id < logits.length; id++) if ((logits[id] ?? 0) > (logits[best] ?? 0)) best = id;
  return best;
}

/** Unnormalised probabilities `[V]` after temperature, top-k, top-p and min-p; dropped ids weigh 0. */
function keptWeights(logits: Float32Array, sampling: Sampling): Float64Array {
  const peak = logits[argmax(logits)] ?? 0;
  const weights = Float64Array.from(logits, (logit) => Math.exp((logit - peak) / sampling.temperature));
  if (sampling.top_k > 0 && sampling.top_k < weights.length)
    keepBest(weights, ranked(weights, 0).slice(0, sampling.top_k));
  if (sampling.top_p < 1) keepBest(weights, nucleus(weights, sampling.top_p));
  for (let id = 0; id < weights.length; id++) if ((weights[id] ?? 0) < sampling.min_p) weights[id] = 0; // the peak weighs 1
  return weights;
}

function keepBest(weights: Float64Array, kept: readonly number[]): void {
  const copy = kept.map((id) => weights[id] ?? 0);
  weights.fill(0);
  for (const [at, id] of kept.entries()) weights[id] = copy[at] ?? 0;
}

/** The fewest most probable ids whose probability together reaches `mass`. */
function nucleus(weights: Float64Array, mass: number): number[] {
  let total = 0;
  for (const weight of weights) total += weight;
  // Ids lighter than this weigh together less than 1 - mass, so the nucleus is complete without them: no need to sort them.
  const candidates = ranked(weights, ((1 - mass) * total) / weights.length);
  let [sum, count] = [0, 0];
  while (count < candidates.length && (count === 0 || sum < mass * total)) {
    sum += weights[candidates[count] ?? 0] ?? 0;
    count++;
  }
  return candidates.slice(0, count);
}

/** Ids that weigh more than 0 and at least `floor`, heaviest first, ties by lowest id. */
function ranked(weights: Float64Array, floor: number): number[] {
  const ids: number[] = [];
  for (let id = 0; id < weights.length; id++) {
    const weight = weights[id] ?? 0;
    if (weight > 0 && weight >= floor) ids.push(id);
  }
  return ids.sort((left, right) => (weights[right] ?? 0) - (weights[left] ?? 0) || left - right);
}
