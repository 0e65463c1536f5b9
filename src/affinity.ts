/** Which requests belong together: turns of one conversation begin alike. A leaf. */

/** Token ids that count. */
const AFFINITY_TOKENS = 64;
const OFFSET = 0x811c9dc5;
const PRIME = 0x01000193;

/** FNV-like mix of the first token ids, 32 bits. @param owner whose they are; of another owner they are others */
export function affinityOf(tokenIds: readonly number[], owner = ""): number {
  let hash = OFFSET;
  for (let at = 0; at < owner.length; at++) hash = Math.imul(hash ^ owner.charCodeAt(at), PRIME) >>> 0;
  for (const id of tokenIds.slice(0, AFFINITY_TOKENS)) hash = Math.imul(hash ^ id, PRIME) >>> 0;
  return hash;
}
