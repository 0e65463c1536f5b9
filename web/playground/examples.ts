/** Prompts to begin with: the checkpoint that comes with Sortie knows a small generated world. */

const TINY: readonly string[] = [
  "how do you say dog in spanish",
  "Sort these numbers: 83, 12, 55, 7",
  "B points to D, D points to K, K points to T, T points to B. Start at B, take three steps. Where are you?",
  "Start with 9, add 7, subtract 3, add 8, subtract 5, then add 4. What is the result?",
];

const ANY: readonly string[] = ["What is the capital of France?", "Tell me a short story about a fox and a lamp."];

export const examplesFor = (model: string): readonly string[] => (model === "tiny" ? TINY : ANY);
