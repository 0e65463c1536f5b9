/** `GET /v1/blocks` from the other side: a signed question, and a body that is believed only when it is signed, too. */
import { BLOCKS_PATH, MAX_BLOCKS, MAX_BODY_BYTES } from "./protocol.ts";
import { signedFetch } from "./signed-fetch.ts";
import { importSecret, NONCE_HEADER, verifyAnswer } from "./signing.ts";

/** Milliseconds for the whole answer: beyond, computing is faster. */
const TIMEOUT_MS = 2_000;

export interface BlocksClientOptions {
  readonly url: string;
  readonly secret: string;
  readonly fetch?: typeof fetch;
}

export interface BlocksQuestion {
  readonly exit: number;
  /** `scope/key`, blocks that follow one another. */
  readonly names: readonly string[];
  /** Key of the block before the first; null: the first is the prompt's. */
  readonly held: string | null;
}

/**
 * @returns the sealed blocks' bytes; null when the origin holds none
 * @throws Error when it cannot be asked, or its answer not be believed
 */
export async function askBlocks(
  options: BlocksClientOptions,
  { exit, names, held }: BlocksQuestion,
  signal: AbortSignal,
): Promise<Uint8Array<ArrayBuffer> | null> {
  const query = new URLSearchParams({ exit: String(exit) });
  for (const name of names.slice(0, MAX_BLOCKS)) query.append("block", name);
  const path = `${BLOCKS_PATH}?${query.toString()}`;
  const key = await importSecret(options.secret);
  const send = options.fetch ?? ((input, init) => fetch(input, init));
  const base = new URL(options.url);
  const until = AbortSignal.any([signal, AbortSignal.timeout(TIMEOUT_MS)]);
  const { response, signed } = await signedFetch(key, base.href, "GET", path, new Uint8Array(0), (own) =>
    send(new URL(path, base).href, {
      headers: held === null ? own : { ...own, "if-none-match": `"${held}"` },
      redirect: "manual",
      signal: until,
    }),
  );
  if (response.status === 304 || response.status === 404) {
    await response.body?.cancel();
    return null;
  }
  if (response.status !== 200 || response.body === null) throw new Error(`the origin answered ${response.status}`);
  const body = await bounded(response);
  if (await verifyAnswer(key, signed[NONCE_HEADER] ?? "", response.headers, body)) return body;
  throw new Error("the origin's blocks are not signed by it");
}

/** @throws Error beyond the protocol's bound, by the declared length where there is one */
async function bounded(response: Response): Promise<Uint8Array<ArrayBuffer>> {
  const tooLong = (): Error => new Error(`blocks of more than ${MAX_BODY_BYTES} bytes`);
  if (Number(response.headers.get("content-length") ?? 0) > MAX_BODY_BYTES) throw tooLong();
  const parts: Uint8Array[] = [];
  let bytes = 0;
  for await (const part of response.body as unknown as AsyncIterable<Uint8Array>) {
    bytes += part.length;
    if (bytes > MAX_BODY_BYTES) throw tooLong();
    parts.push(part);
  }
  const body = new Uint8Array(bytes);
  let offset = 0;
  for (const part of parts) {
    body.set(part, offset);
    offset += part.length;
  }
  return body;
}
