/** Which requests belong together: turns of one conversation begin alike. A leaf. */
import { fnvStep, hash32 } from "./fnv.ts";

/** Token ids that count. */
const AFFINITY_TOKENS = 64;

/** A hash of the first token ids, 32 bits. @param owner whose they are; of another owner they are others */
export function affinityOf(tokenIds: readonly number[], owner = ""): number {
  return tokenIds.slice(0, AFFINITY_TOKENS).reduce(fnvStep, hash32(owner)) >>> 0;
}
