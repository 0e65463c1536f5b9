/** Money is whole micro-dollars, a millionth of a US dollar: sums are exact up to 2^53, nine billion dollars. A leaf. */

/** A whole number of micro-dollars, never negative unless it says so. */
export type MicroUsd = number;

export const MICRO_PER_USD = 1_000_000;

/** Digits of a dollar's fraction that a micro-dollar needs. */
const FRACTION_DIGITS = 6;

/** `1234567` → `1.234567`: exact, for headers, reports and errors. */
export function formatUsd(micro: MicroUsd): string {
  const sign = micro < 0 ? "-" : "";
  const whole = Math.floor(Math.abs(micro) / MICRO_PER_USD);
  const fraction = Math.abs(micro) % MICRO_PER_USD;
  return `${sign}${whole}.${String(fraction).padStart(FRACTION_DIGITS, "0")}`;
}

/** Dollars as people write them to micro-dollars; null when they are finer than a micro-dollar. */
export function parseUsd(dollars: number): MicroUsd | null {
  const micro = Math.round(dollars * MICRO_PER_USD);
  return Number.isSafeInteger(micro) && micro / MICRO_PER_USD === dollars ? micro : null;
}
