/** Text of a server for a terminal: what a terminal would obey, or a reader could not see, is spelled out. */

const INVISIBLE = /[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/gu;

/** Line breaks stay: they are the command's own. */
export function printable(text: string): string {
  return text.replace(INVISIBLE, (character) => {
    if (character === "\n") return character;
    return `\\u{${(character.codePointAt(0) ?? 0).toString(16)}}`;
  });
}
