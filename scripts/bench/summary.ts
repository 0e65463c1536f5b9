/** From rounds to the figures of one exit, and their table: the same for workerd and Node. */
import type { BenchOptions } from "./options.ts";
import { digits, rate, table } from "./report.ts";
import { figures, median, ratio, type Results } from "./rounds.ts";

export interface ExitSummary {
  readonly model: string;
  readonly exit: number;
  readonly prefill_tokens_per_s: number;
  readonly decode_tokens_per_s: number;
  readonly decode_ms_per_token: number;
  readonly first_token_ms: number;
  /** Matrix products alone, of one decoded token. */
  readonly products_ms: number;
  /** Decoding / products alone. */
  readonly decode_over_products: number;
}

/** Names under which an exit and its products are measured. */
export const subjectName = (model: string, exit: number) => `${model}/${exit}`;
export const productsName = (model: string, exit: number) => `${model}/${exit}/products`;

export function summarise(results: Results, model: string, exit: number, { context }: BenchOptions): ExitSummary {
  const of = (figure: string) => figures(results, subjectName(model, exit), figure);
  const decode = of("decode_ms_per_token");
  const products = figures(results, productsName(model, exit), "ms_per_run");
  return {
    model,
    exit,
    prefill_tokens_per_s: rate(context, median(of("prefill_ms"))),
    decode_tokens_per_s: rate(1, median(decode)),
    decode_ms_per_token: median(decode),
    first_token_ms: median(of("first_token_ms")),
    products_ms: median(products),
    decode_over_products: ratio(decode, products),
  };
}

export function exitTable(summaries: readonly ExitSummary[]): string {
  return table(
    [
      "model",
      "exit",
      "prefill tokens/s",
      "decode tokens/s",
      "decode ms",
      "first token ms",
      "products ms",
      "decode / products",
    ],
    summaries.map((summary) => [
      summary.model,
      `${summary.exit}`,
      digits(summary.prefill_tokens_per_s),
      digits(summary.decode_tokens_per_s),
      digits(summary.decode_ms_per_token),
      digits(summary.first_token_ms),
      digits(summary.products_ms),
      digits(summary.decode_over_products),
    ]),
  );
}
