/** FNV-1a, 32 bits (http://www.isthe.com/chongo/tech/comp/fnv/): hashes without secrets. A leaf. */

export const FNV_OFFSET = 0x811c9dc5;
const FNV_PRIME = 0x01000193;

/** One step: `value` is a code unit, or a number in its place. */
export function fnvStep(hash: number, value: number): number {
  return Math.imul(hash ^ value, FNV_PRIME);
}

/** Over UTF-16 code units, going on from `hash`. */
export function hash32(text: string, hash = FNV_OFFSET): number {
  for (let i = 0; i < text.length; i++) hash = fnvStep(hash, text.charCodeAt(i));
  return hash >>> 0;
}
