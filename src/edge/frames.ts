/**
 * The stream between a shard and the Worker: frames of `[u32 length, little-endian][u8 kind][payload]`.
 * JSON for events, raw safetensors for a handoff, so that tensors are never turned into text.
 */

export const FRAME_JSON = 1;
export const FRAME_HANDOFF = 2;

const HEADER_BYTES = 5;
/** A handoff of 2,048 tokens at 6 layers of the SmolLM2 shape in float32 is 24 MB; nothing larger is expected. */
export const MAX_FRAME_BYTES = 64 * 1024 * 1024;

export interface Frame {
  readonly kind: number;
  readonly payload: Uint8Array<ArrayBuffer>;
}

const encoder = new TextEncoder();
const decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: false });

/** One frame's bytes. */
export function encodeFrame(kind: number, payload: Uint8Array): Uint8Array {
  const frame = new Uint8Array(HEADER_BYTES + payload.length);
  new DataView(frame.buffer).setUint32(0, payload.length, true);
  frame[4] = kind;
  frame.set(payload, HEADER_BYTES);
  return frame;
}

/** A JSON frame's bytes. */
export function encodeJsonFrame(value: unknown): Uint8Array {
  return encodeFrame(FRAME_JSON, encoder.encode(JSON.stringify(value)));
}

/** The value of a JSON frame. @throws SyntaxError, TypeError when it is not JSON in UTF-8 */
export function decodeJsonFrame(frame: Frame): unknown {
  return JSON.parse(decoder.decode(frame.payload));
}

/**
 * Frames of a byte stream, in order. Returning early cancels the stream.
 * @throws Error when the stream ends inside a frame or a frame is too long
 */
export async function* readFrames(stream: ReadableStream<Uint8Array>): AsyncGenerator<Frame, void, void> {
  const reader = stream.getReader();
  let finished = false;
  try {
    let buffered = new Uint8Array(0);
    for (;;) {
      let whole = frameLength(buffered);
      while (whole !== null && buffered.length >= whole) {
        yield { kind: buffered[4] ?? 0, payload: buffered.slice(HEADER_BYTES, whole) };
        buffered = buffered.subarray(whole);
        whole = frameLength(buffered);
      }
      const { done, value } = await reader.read();
      if (done) {
        finished = true;
        if (buffered.length > 0) throw new Error("edge stream ended inside a frame");
        return;
      }
      buffered = concat(buffered, value);
    }
  } finally {
    if (!finished) await reader.cancel().catch(() => undefined);
    reader.releaseLock();
  }
}

/** Bytes of the first buffered frame with its header; null while the header is incomplete. */
function frameLength(buffered: Uint8Array): number | null {
  if (buffered.length < HEADER_BYTES) return null;
  const length = new DataView(buffered.buffer, buffered.byteOffset).getUint32(0, true);
  if (length > MAX_FRAME_BYTES) throw new Error(`edge frame of ${length} bytes exceeds ${MAX_FRAME_BYTES}`);
  return HEADER_BYTES + length;
}

function concat(left: Uint8Array, right: Uint8Array): Uint8Array<ArrayBuffer> {
  const joined = new Uint8Array(left.length + right.length);
  joined.set(left);
  joined.set(right, left.length);
  return joined;
}
