/** Dates of a TOML text that no calendar has: the parser turns the 30th of February into the 2nd of March. Pure. */

const DATE = /^(\d{4})-(\d{2})-(\d{2})/;
const QUOTES = ['"""', "'''", '"', "'"];

/** The first date outside strings and comments that does not exist, as it is written; null when all do. */
export function impossibleDate(toml: string): string | null {
  for (let at = 0; at < toml.length;) {
    const quote = QUOTES.find((mark) => toml.startsWith(mark, at));
    if (quote !== undefined) at = endOfString(toml, at, quote);
    else if (toml[at] === "#") at = endOf(toml, "\n", at);
    else {
      const [date, year, month, day] = DATE.exec(toml.slice(at, at + 10)) ?? [];
      if (date !== undefined && !exists(Number(year), Number(month), Number(day))) return date;
      at += date?.length ?? 1;
    }
  }
  return null;
}

function exists(year: number, month: number, day: number): boolean {
  const date = new Date(Date.UTC(year, month - 1, day));
  return date.getUTCMonth() === month - 1 && date.getUTCDate() === day;
}

/** Strings in double quotes have escapes. */
function endOfString(text: string, start: number, quote: string): number {
  for (let at = start + quote.length; at < text.length; at++) {
    if (quote.startsWith('"') && text[at] === "\\") at++;
    else if (text.startsWith(quote, at)) return at + quote.length;
  }
  return text.length;
}

function endOf(text: string, mark: string, from: number): number {
  const at = text.indexOf(mark, from);
  return at === -1 ? text.length : at;
}
