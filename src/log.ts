/** The log: one line of JSON an event. Ids, numbers and reasons; never prompt or answer text, never a secret. A leaf. */

/** Characters of one value: a stack trace fits, a body that slipped in does not. */
const MAX_VALUE_CHARS = 4_000;

export type LogLevel = "info" | "warn" | "error";
export type LogValue =
  | string
  | number
  | boolean
  | null
  | undefined
  | readonly number[]
  | readonly string[]
  | Readonly<Record<string, number>>;

/**
 * Writes one event.
 * @param event what happened, dotted, e.g. `chat.completed`
 */
export function log(event: string, fields: Readonly<Record<string, LogValue>> = {}, level: LogLevel = "info"): void {
  const clipped = Object.entries(fields).map(([key, value]) => [
    key,
    typeof value === "string" ? value.slice(0, MAX_VALUE_CHARS) : value,
  ]);
  const line = { time: new Date().toISOString(), level, event, ...(Object.fromEntries(clipped) as object) };
  console[level](JSON.stringify(line));
}

/** Causes followed: an error that wraps itself must not hang the log. */
const MAX_CAUSES = 5;

/** An error with its stack and its causes, for the log alone. */
export function describeError(error: unknown): string {
  const parts: string[] = [];
  for (let at = error; at !== undefined && parts.length < MAX_CAUSES; at = at instanceof Error ? at.cause : undefined) {
    if (at instanceof Error) parts.push(at.stack ?? String(at));
    else parts.push(typeof at === "string" ? at : `a thrown ${typeof at}`);
  }
  return parts.join("\ncaused by ");
}
