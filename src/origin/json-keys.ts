/** `JSON.parse` keeps the last of two equal keys in silence; a strict reader must not. */

/**
 * Finds a key that stands twice in one object.
 * @param text valid JSON (it has been parsed).
 * @returns the key, or null.
 */
export function findDuplicateKey(text: string): string | null {
  /** Keys so far of every open object; null for an array. */
  const open: (Set<string> | null)[] = [];
  let last = "";
  for (let i = 0; i < text.length; i++) {
    const char = text[i];
    if (char === '"') {
      const end = stringEnd(text, i);
      last = text.slice(i, end);
      i = end - 1;
    } else if (char === "{") open.push(new Set());
    else if (char === "[") open.push(null);
    else if (char === "}" || char === "]") open.pop();
    else if (char === ":") {
      const key = JSON.parse(last) as string;
      const keys = open.at(-1)!;
      if (keys.has(key)) return key;
      keys.add(key);
    }
  }
  return null;
}

/** @returns the index after the closing quote of the string that opens at `start`. */
function stringEnd(text: string, start: number): number {
  let i = start + 1;
  while (text[i] !== '"') i += text[i] === "\\" ? 2 : 1;
  return i + 1;
}
