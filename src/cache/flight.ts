/** One answer while it is computed, told to everybody who asked the same. */
import { BEGIN_MS } from "./response-protocol.ts";

const utf8 = new TextEncoder();

export class Flight {
  readonly #lines: Uint8Array[] = [];
  readonly #readers = new Set<ReadableStreamDefaultController<Uint8Array>>();
  readonly #patience: ReturnType<typeof setTimeout>;
  #ended = false;
  #isLeft = false;

  /** @param onLost called when nobody has begun to compute in time */
  constructor(onLost: () => void) {
    this.#patience = setTimeout(() => {
      this.finish();
      onLost();
    }, BEGIN_MS);
  }

  begin(): void {
    clearTimeout(this.#patience);
  }

  /** The client of the one who computes is gone: now it is wanted only while somebody reads along. */
  leave(): void {
    this.#isLeft = true;
  }

  get isWanted(): boolean {
    return !this.#isLeft || this.#readers.size > 0;
  }

  /** Everything told so far, and what is still to come. A stream that ends without the answer's end was given up. */
  follow(): ReadableStream<Uint8Array> {
    let own: ReadableStreamDefaultController<Uint8Array>;
    return new ReadableStream<Uint8Array>({
      start: (controller) => {
        own = controller;
        for (const line of this.#lines) controller.enqueue(line);
        if (this.#ended) controller.close();
        else this.#readers.add(controller);
      },
      cancel: () => void this.#readers.delete(own),
    });
  }

  tell(line: string): void {
    const bytes = utf8.encode(`${line}\n`);
    this.#lines.push(bytes);
    for (const reader of this.#readers) reader.enqueue(bytes);
  }

  finish(): void {
    if (this.#ended) return;
    this.#ended = true;
    clearTimeout(this.#patience);
    for (const reader of this.#readers) reader.close();
    this.#readers.clear();
  }
}
