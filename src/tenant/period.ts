/** The periods of a budget, in UTC. Instants are milliseconds since 1970. */

/** Weeks begin on Monday (ISO 8601). `none` is one period that never ends. */
export const PERIODS = ["hour", "day", "week", "month", "none"] as const;
export type Period = (typeof PERIODS)[number];

export const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;
const WEEK_MS = 7 * DAY_MS;
/** 1970-01-01 was a Thursday: the Monday before it. */
const FIRST_MONDAY_MS = -3 * DAY_MS;

/** The beginning of the period that `at` lies in. */
export function periodStart(period: Period, at: number): number {
  switch (period) {
    case "hour":
      return at - mod(at, HOUR_MS);
    case "day":
      return at - mod(at, DAY_MS);
    case "week":
      return at - mod(at - FIRST_MONDAY_MS, WEEK_MS);
    case "month": {
      const date = new Date(at);
      return Date.UTC(date.getUTCFullYear(), date.getUTCMonth(), 1);
    }
    case "none":
      return 0;
    default:
      return period satisfies never;
  }
}

/** The first instant after the period that begins at `start`; null when it never ends. */
export function periodEnd(period: Period, start: number): number | null {
  switch (period) {
    case "hour":
      return start + HOUR_MS;
    case "day":
      return start + DAY_MS;
    case "week":
      return start + WEEK_MS;
    case "month": {
      const date = new Date(start);
      return Date.UTC(date.getUTCFullYear(), date.getUTCMonth() + 1, 1);
    }
    case "none":
      return null;
    default:
      return period satisfies never;
  }
}

/** The remainder that is never negative. */
function mod(value: number, divisor: number): number {
  return ((value % divisor) + divisor) % divisor;
}
