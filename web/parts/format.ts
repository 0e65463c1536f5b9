/** Numbers as people read them. */

export const milliseconds = (value: number): string =>
  value < 1_000 ? `${Math.round(value)} ms` : `${(value / 1_000).toFixed(2)} s`;

export const percent = (share: number): string => `${Math.round(share * 100)} %`;

export const whole = (value: number): string => Math.round(value).toLocaleString("en");

/** `0.001234` → `$0.001234`, `5.000000` → `$5.00`. @param dollars as the server says them, or computed */
export function usd(dollars: string | number): string {
  const value = Number(dollars);
  return `$${value === 0 || value >= 1 ? value.toFixed(2) : value.toFixed(6)}`;
}

/** An instant in the reader's own zone. @param iso ISO 8601 */
export const instant = (iso: string): string =>
  new Date(iso).toLocaleString([], { dateStyle: "medium", timeStyle: "short" });
