/** Comma-separated values as RFC 4180 has them. */

/** @throws Error when a quote is not closed */
export function readCsv(text: string): string[][] {
  const rows: string[][] = [];
  let row: string[] = [];
  let field = "";
  let quoted = false;
  for (let at = 0; at < text.length; at++) {
    const char = text[at] ?? "";
    if (quoted) {
      if (char !== '"') field += char;
      else if (text[at + 1] === '"') field += text[++at];
      else quoted = false;
    } else if (char === '"') quoted = true;
    else if (char === ",") {
      row.push(field);
      field = "";
    } else if (char === "\n") {
      rows.push([...row, field.replace(/\r$/, "")]);
      [row, field] = [[], ""];
    } else field += char;
  }
  if (quoted) throw new Error("a quote is not closed");
  if (field !== "" || row.length > 0) rows.push([...row, field]);
  return rows;
}
