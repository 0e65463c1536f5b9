/** Gate 1: from the prompt's text alone, how likely each exit's answer is as good as the deepest exit's. Pure. */
import type { Message } from "../conversation.ts";
import { sigmoid } from "./logistic.ts";
import { promptFeatures, visitConversation, type Features, type Visit } from "./text-features.ts";

/** Gate 1's parameters. */
export interface PromptGate {
  /** Hash buckets, a power of two. */
  readonly buckets: number;
  /** int8 `[exits, buckets]` */
  readonly weights: Int8Array;
  /** Per exit: logit = scale · (weights · features) + bias. */
  readonly scale: readonly number[];
  readonly bias: readonly number[];
}

/** Probability per exit, in the order of the gate's rows. */
export function scoreFeatures(gate: PromptGate, { buckets, values }: Features): number[] {
  return gate.bias.map((bias, row) => {
    const start = row * gate.buckets;
    let sum = 0;
    for (let i = 0; i < buckets.length; i++) sum += (gate.weights[start + (buckets[i] ?? 0)] ?? 0) * (values[i] ?? 0);
    return sigmoid(sum * (gate.scale[row] ?? 0) + bias);
  });
}

/** {@link scoreFeatures} of a conversation. */
export function scorePrompt(gate: PromptGate, messages: readonly Message[]): number[] {
  return scoreFeatures(gate, promptFeatures(messages, gate.buckets));
}

/** What one feature adds to an exit's logit. */
export interface Contribution {
  readonly feature: string;
  readonly logit: number;
}

/** The features that move an exit's score most, strongest first; features of one bucket are named together. */
export function explainPrompt(
  gate: PromptGate,
  messages: readonly Message[],
  row: number,
  most: number,
): Contribution[] {
  const names = new Map<number, string>();
  const name: Visit = (hash, seed, head, joint, tail) => {
    const bucket = hash & (gate.buckets - 1);
    if (!names.has(bucket)) names.set(bucket, seed + head + joint + tail);
  };
  visitConversation(messages, name, name);
  const { buckets, values } = promptFeatures(messages, gate.buckets);
  const logit = (bucket: number, at: number): number =>
    (gate.weights[row * gate.buckets + bucket] ?? 0) * (values[at] ?? 0) * (gate.scale[row] ?? 0);
  return Array.from(buckets, (bucket, at) => ({ feature: names.get(bucket) ?? "", logit: logit(bucket, at) }))
    .toSorted((left, right) => Math.abs(right.logit) - Math.abs(left.logit))
    .slice(0, most);
}
