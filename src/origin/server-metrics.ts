/** The embedded origin's counters and their Prometheus text (https://prometheus.io/docs/instrumenting/exposition_formats/). */
import type { Usage } from "../generation.ts";
import type { CacheState } from "../model/node-protocol.ts";
import { METRIC_CAPACITY, METRIC_IN_FLIGHT, METRIC_TOKENS_COMPUTED } from "./protocol.ts";
import type { RequestQueue } from "./server-queue.ts";

/** How a request ended: `stop` and `length` are answers. */
export type Outcome = "stop" | "length" | "cancelled" | "failed" | "refused";

const COUNTERS = {
  [METRIC_TOKENS_COMPUTED]: "Tokens the engine computed for answers, by exit, sent or not.",
  sortie_origin_prompt_tokens_total: "Prompt tokens of finished answers, by how they were read: computed or cached.",
  sortie_origin_requests_total: "Requests to generate, by outcome.",
  sortie_origin_handoffs_total: "Handoffs accepted.",
  sortie_origin_blocks_answers_total: "Requests for blocks of the prefix cache, by whether it held any.",
  sortie_origin_prefill_seconds_total: "Seconds spent reading the prompts of finished answers.",
  sortie_origin_decode_seconds_total: "Seconds spent writing finished answers.",
} as const;
type Counter = keyof typeof COUNTERS;

/** Of the prefix cache; a block is one segment's. */
const CACHE_METRICS: Readonly<Record<keyof CacheState, readonly [string, "gauge" | "counter", string]>> = {
  bytes: ["sortie_origin_cache_bytes", "gauge", "Bytes of blocks in the prefix cache."],
  blocks: ["sortie_origin_cache_blocks", "gauge", "Blocks of one segment in the prefix cache."],
  evicted: ["sortie_origin_cache_evicted_total", "counter", "Blocks that went to make room."],
  asked: ["sortie_origin_cache_asked_total", "counter", "Blocks that prompts asked the prefix cache for."],
  found: ["sortie_origin_cache_found_total", "counter", "Those of them that it held."],
};

export class Metrics {
  readonly #queue: RequestQueue;
  /** Counter → label set as written (`{exit="3"}` or empty) → value. */
  readonly #values = new Map<Counter, Map<string, number>>();

  constructor(queue: RequestQueue) {
    this.#queue = queue;
  }

  tokenComputed(exit: number): void {
    this.#add(METRIC_TOKENS_COMPUTED, 1, `{exit="${exit}"}`);
  }

  handoffAccepted(): void {
    this.#add("sortie_origin_handoffs_total", 1);
  }

  blocksGiven(held: boolean): void {
    this.#add("sortie_origin_blocks_answers_total", 1, `{held="${held}"}`);
  }

  requestEnded(outcome: Outcome): void {
    this.#add("sortie_origin_requests_total", 1, `{outcome="${outcome}"}`);
  }

  answered(usage: Usage, timings: { readonly prefill_ms: number; readonly decode_ms: number }): void {
    const { prompt_tokens, cached_tokens } = usage;
    this.#add("sortie_origin_prompt_tokens_total", prompt_tokens - cached_tokens, '{state="computed"}');
    this.#add("sortie_origin_prompt_tokens_total", cached_tokens, '{state="cached"}');
    this.#add("sortie_origin_prefill_seconds_total", timings.prefill_ms / 1000);
    this.#add("sortie_origin_decode_seconds_total", timings.decode_ms / 1000);
  }

  /** The text of `GET /metrics`. */
  render(cache: CacheState): string {
    const lines: string[] = [];
    for (const [name, help] of Object.entries(COUNTERS)) {
      lines.push(`# HELP ${name} ${help}`, `# TYPE ${name} counter`);
      for (const [labels, value] of this.#values.get(name as Counter) ?? [["", 0]])
        lines.push(`${name}${labels} ${value}`);
    }
    const { active, waiting } = this.#queue.limits;
    lines.push(`# HELP ${METRIC_IN_FLIGHT} Requests being answered or waiting.`, `# TYPE ${METRIC_IN_FLIGHT} gauge`);
    lines.push(`${METRIC_IN_FLIGHT} ${this.#queue.size}`);
    lines.push(
      `# HELP ${METRIC_CAPACITY} Requests that may be answered or waiting.`,
      `# TYPE ${METRIC_CAPACITY} gauge`,
    );
    lines.push(`${METRIC_CAPACITY} ${active + waiting}`);
    for (const [state, [name, type, help]] of Object.entries(CACHE_METRICS)) {
      lines.push(`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`, `${name} ${cache[state as keyof CacheState]}`);
    }
    lines.push("");
    return lines.join("\n");
  }

  #add(name: Counter, amount: number, labels = ""): void {
    const values = this.#values.get(name) ?? new Map<string, number>();
    this.#values.set(name, values.set(labels, (values.get(labels) ?? 0) + amount));
  }
}
