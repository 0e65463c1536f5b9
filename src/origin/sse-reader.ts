/** The answer's bytes → the `data:` lines of `sortie-origin/1`, with a bound on what one line may hold. */
import { OriginError } from "./origin-error.ts";

const NEWLINE = 0x0a;
const CARRIAGE_RETURN = 0x0d;

/** Splits chunks into lines and lines into events. One event is one `data:` line; comments are pings. */
export class SseParser {
  readonly #maxLineBytes: number;
  #bytesLeft: number;
  readonly #decoder = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });
  #rest = new Uint8Array(0);

  /** @param maxBytes of all lines, comments too */
  constructor(maxLineBytes: number, maxBytes: number) {
    this.#maxLineBytes = maxLineBytes;
    this.#bytesLeft = maxBytes;
  }

  /** @returns the payloads that `chunk` completes. @throws {OriginError} `malformed` */
  push(chunk: Uint8Array): string[] {
    this.#bytesLeft -= chunk.length;
    if (this.#bytesLeft < 0) throw new OriginError("malformed", "the answer is longer than its tokens can be");
    const payloads: string[] = [];
    let start = 0;
    for (let newline = chunk.indexOf(NEWLINE); newline >= 0; newline = chunk.indexOf(NEWLINE, start)) {
      const payload = this.#readLine(this.#take(chunk.subarray(start, newline)));
      if (payload !== null) payloads.push(payload);
      start = newline + 1;
    }
    this.#rest = this.#take(chunk.subarray(start));
    return payloads;
  }

  /** Joins what was left over with `bytes` and forgets it. */
  #take(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
    if (this.#rest.length + bytes.length > this.#maxLineBytes) {
      throw new OriginError("malformed", `a line of the answer is longer than ${this.#maxLineBytes} bytes`);
    }
    const line = new Uint8Array(this.#rest.length + bytes.length);
    line.set(this.#rest);
    line.set(bytes, this.#rest.length);
    this.#rest = new Uint8Array(0);
    return line;
  }

  /** @returns the payload of a `data:` line; null for a comment or an empty line. */
  #readLine(bytes: Uint8Array): string | null {
    const line = this.#decode(bytes.at(-1) === CARRIAGE_RETURN ? bytes.subarray(0, -1) : bytes);
    if (line === "" || line.startsWith(":")) return null;
    if (line.startsWith("data:")) return line.slice(line[5] === " " ? 6 : 5);
    throw new OriginError("malformed", `the answer has a line that is no event: ${line.slice(0, 80)}`);
  }

  #decode(bytes: Uint8Array): string {
    try {
      return this.#decoder.decode(bytes);
    } catch (cause) {
      throw new OriginError("malformed", "the answer is not UTF-8", { cause });
    }
  }
}
