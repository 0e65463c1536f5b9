/** `GET /v1/blocks`: what the origin's prefix cache holds of a conversation, for a tier that computes its first layers. */
import { z } from "zod";
import type { BlockName } from "../model/node-protocol.ts";
import { BLOCKS_TYPE, MAX_BLOCKS, MAX_BODY_BYTES } from "./protocol.ts";
import type { OriginEngine } from "./server-app.ts";
import { refuse } from "./server-requests.ts";
import { bodyDigest, DIGEST_HEADER, NONCE_HEADER, signAnswer, SIGNATURE_HEADER } from "./signing.ts";

const blockSchema = z.string().regex(/^(?:shared|[a-z0-9-]{1,63}\/[0-9]{1,9})\/[0-9a-f]{64}$/);
const querySchema = z.strictObject({
  exit: z.coerce.number().int().positive(),
  blocks: z.array(blockSchema).min(1).max(MAX_BLOCKS),
});

/** @param request whose signature was verified @throws ApiError 400, 404 `blocks_unknown` */
export async function answerBlocks(request: Request, key: CryptoKey, engine: OriginEngine): Promise<Response> {
  const { searchParams } = new URL(request.url);
  const parsed = querySchema.safeParse({ exit: searchParams.get("exit"), blocks: searchParams.getAll("block") });
  if (!parsed.success) throw refuse(400, "request_invalid", "It asks for no blocks, too many, or misnames them.");
  const { exit, blocks } = parsed.data;
  const layers = engine.exits.filter((last) => last <= exit);
  if (layers.at(-1) !== exit) throw refuse(400, "exit_unknown", `The exits are ${engine.exits.join(", ")}.`, "exit");
  const names = blocks.map(readName);
  const wanted = names.flatMap((name): BlockName[] => layers.map((lastLayer) => ({ ...name, lastLayer })));
  const sealed = await engine.blocks(wanted, MAX_BODY_BYTES);
  const whole = Math.floor(sealed.length / layers.length);
  if (whole === 0) {
    if (request.headers.has("if-none-match")) return new Response(null, { status: 304 });
    throw refuse(404, "blocks_unknown", "None of these blocks is held here.");
  }
  const body = joined(sealed.slice(0, whole * layers.length));
  const digest = await bodyDigest(body);
  return new Response(body, {
    headers: {
      "content-type": BLOCKS_TYPE,
      etag: `"${names[whole - 1]?.key ?? ""}"`,
      [DIGEST_HEADER]: digest,
      [SIGNATURE_HEADER]: await signAnswer(key, request.headers.get(NONCE_HEADER) ?? "", digest),
    },
  });
}

/** `shared/<key>` or `<tenant>/<epoch>/<key>`. */
function readName(text: string): { scope: string; key: string } {
  const at = text.lastIndexOf("/");
  return { scope: text.slice(0, at), key: text.slice(at + 1) };
}

function joined(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let offset = 0;
  for (const part of parts) {
    whole.set(part, offset);
    offset += part.length;
  }
  return whole;
}
