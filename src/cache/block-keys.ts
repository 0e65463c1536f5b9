/**
 * Names of blocks. A block is 32 tokens at an absolute multiple of 32; its key names them, every token before them, and
 * what computed them:
 *
 *   root   = SHA-256("sortie-block/1\n" fingerprint "\n" numerics "\n")
 *   key[b] = SHA-256(key[b-1], or root ‖ scope[b] in UTF-8 ‖ 0x00 ‖ the block's 32 ids as u32, little-endian)
 *
 * The scope is whose block it is: a tenant's, or `shared` for the leading blocks that the operator has marked. As it
 * goes into the hash, equal prompts of two tenants have different keys. What the layers up to exit k made of a block is
 * stored under `scope/key/k`.
 */
import { fromHex, sha256, toHex } from "../bytes.ts";
import type { CacheScope } from "../generation.ts";
import type { Numerics } from "../handoff.ts";
import { BLOCK_TOKENS } from "../model/segment-state.ts";

/** What computes the blocks. */
export interface BlockMaker {
  readonly fingerprint: string;
  readonly numerics: Numerics;
}

export interface BlockKey {
  readonly scope: string;
  /** Lower-case hexadecimal. */
  readonly key: string;
}

/** The scope of marked prefixes. No tenant's: those have an epoch. */
export const SHARED_SCOPE = "shared";

const KEY_FORMAT = "sortie-block/1";
const utf8 = new TextEncoder();

/**
 * Keys of the whole blocks of `ids`, first block first.
 * @param known keys of the leading blocks, from an earlier call with a beginning of `ids`
 */
export async function blockKeys(
  ids: readonly number[],
  maker: BlockMaker,
  owner: Pick<CacheScope, "scope" | "shared_tokens">,
  known: readonly BlockKey[] = [],
): Promise<BlockKey[]> {
  const keys = [...known];
  const last = keys.at(-1);
  let parent =
    last === undefined
      ? await sha256(Uint8Array.from(utf8.encode(`${KEY_FORMAT}\n${maker.fingerprint}\n${maker.numerics}\n`)))
      : fromHex(last.key);
  for (let end = (keys.length + 1) * BLOCK_TOKENS; end <= ids.length; end += BLOCK_TOKENS) {
    const scope = end <= owner.shared_tokens ? SHARED_SCOPE : owner.scope;
    parent = await sha256(blockText(parent, scope, ids.slice(end - BLOCK_TOKENS, end)));
    keys.push({ scope, key: toHex(parent) });
  }
  return keys;
}

/** Where the state of a block after layer `lastLayer` is kept, in every store. */
export function blockName({ scope, key }: BlockKey, lastLayer: number): string {
  return `${scope}/${key}/${lastLayer}`;
}

function blockText(parent: Uint8Array, scope: string, ids: readonly number[]): Uint8Array<ArrayBuffer> {
  const name = utf8.encode(`${scope}\0`);
  const text = new Uint8Array(parent.length + name.length + ids.length * Uint32Array.BYTES_PER_ELEMENT);
  text.set(parent);
  text.set(name, parent.length);
  const view = new DataView(text.buffer, parent.length + name.length);
  for (const [at, id] of ids.entries()) view.setUint32(at * Uint32Array.BYTES_PER_ELEMENT, id, true);
  return text;
}
