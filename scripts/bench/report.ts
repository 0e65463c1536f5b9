/** How benchmarks print: a Markdown table per question, then everything once more as one line of JSON. */

/** @param rows cells per row, as many as there are `columns`. */
export function table(columns: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = columns.map((column, i) => Math.max(column.length, ...rows.map((row) => row[i]?.length ?? 0)));
  const line = (cells: readonly string[]) => `| ${cells.map((cell, i) => cell.padEnd(widths[i] ?? 0)).join(" | ")} |`;
  return [line(columns), line(widths.map((width) => "-".repeat(width))), ...rows.map(line)].join("\n");
}

/** Three significant digits, without an exponent. */
export function digits(value: number): string {
  return value >= 100 ? Math.round(value).toString() : value.toPrecision(3);
}

const MEGABYTE = 1e6;

export function megabytes(bytes: number): string {
  return `${(bytes / MEGABYTE).toFixed(1)} MB`;
}

const MS_PER_SECOND = 1000;

/** Tokens a second, of `tokens` that took `ms`. */
export function rate(tokens: number, ms: number): number {
  return (tokens * MS_PER_SECOND) / ms;
}
