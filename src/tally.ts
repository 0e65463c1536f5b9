/** What a request has used so far: prompts read and tokens made, by exit and tier. No I/O, no money. */
import type { ExitTokens } from "./tenant/pricing.ts";

/** Where tokens are read or made. */
export type Place = Pick<ExitTokens, "exit" | "tier">;

export class Tally {
  /** Tokens of each prompt. */
  readonly #prompts: readonly number[];
  /** By prompt: who reads it, once somebody does. */
  readonly #readers = new Map<number, Place & { readonly cachedTokens: number }>();
  readonly #made = new Map<string, Place & { readonly tokens: number }>();

  constructor(prompts: readonly number[]) {
    this.#prompts = prompts;
  }

  /** A prompt counts from now on, once, at the exit that was named last. @param prompt its index */
  read(prompt: number, { exit, tier }: Place): void {
    this.#readers.set(prompt, { exit, tier, cachedTokens: 0 });
  }

  /** So many tokens of a prompt that is being read were computed for an earlier request. */
  cached(prompt: number, tokens: number): void {
    const reader = this.#readers.get(prompt);
    if (reader) this.#readers.set(prompt, { ...reader, cachedTokens: tokens });
  }

  /** One token more. */
  made({ exit, tier }: Place): void {
    const at = keyOf({ exit, tier });
    this.#made.set(at, { exit, tier, tokens: (this.#made.get(at)?.tokens ?? 0) + 1 });
  }

  /** One line an exit and tier. */
  lines(): ExitTokens[] {
    const lines = new Map<string, ExitTokens>();
    const add = ({ exit, tier }: Place, promptTokens: number, cachedTokens: number, completionTokens: number): void => {
      const at = keyOf({ exit, tier });
      const line = lines.get(at);
      lines.set(at, {
        exit,
        tier,
        promptTokens: (line?.promptTokens ?? 0) + promptTokens,
        cachedTokens: (line?.cachedTokens ?? 0) + cachedTokens,
        completionTokens: (line?.completionTokens ?? 0) + completionTokens,
      });
    };
    for (const [prompt, reader] of this.#readers) {
      const tokens = this.#prompts[prompt] ?? 0;
      add(reader, tokens, Math.min(reader.cachedTokens, tokens), 0);
    }
    for (const place of this.#made.values()) add(place, 0, 0, place.tokens);
    return [...lines.values()];
  }
}

function keyOf({ exit, tier }: Place): string {
  return `${exit} ${tier}`;
}
