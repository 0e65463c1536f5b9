/** A map bounded by bytes and age: what was used longest ago goes first. */

interface Entry<T> {
  readonly value: T;
  readonly bytes: number;
  /** Milliseconds since 1970. */
  readonly expiresAt: number;
}

export interface LruOptions {
  /** Bytes of all values together. */
  readonly maxBytes: number;
  /** Milliseconds that a value is good for, used or not. */
  readonly ttlMs: number;
  /** Default `Date.now`. */
  readonly now?: () => number;
}

export class ByteLru<T> {
  readonly #maxBytes: number;
  readonly #ttlMs: number;
  readonly #now: () => number;
  /** Used longest ago first. */
  readonly #entries = new Map<string, Entry<T>>();
  #bytes = 0;
  #evicted = 0;

  constructor({ maxBytes, ttlMs, now = Date.now }: LruOptions) {
    this.#maxBytes = maxBytes;
    this.#ttlMs = ttlMs;
    this.#now = now;
  }

  get bytes(): number {
    return this.#bytes;
  }

  get size(): number {
    return this.#entries.size;
  }

  /** Values that went to make room. */
  get evicted(): number {
    return this.#evicted;
  }

  /** The value, which counts as used now; undefined when there is none, or it is too old. */
  get(name: string): T | undefined {
    const entry = this.#entries.get(name);
    if (entry === undefined) return undefined;
    this.#entries.delete(name);
    if (entry.expiresAt <= this.#now()) {
      this.#bytes -= entry.bytes;
      return undefined;
    }
    this.#entries.set(name, entry);
    return entry.value;
  }

  /** Keeps a value, unless it is larger than the whole map may be. */
  put(name: string, value: T, bytes: number): void {
    this.delete(name);
    if (bytes > this.#maxBytes) return;
    this.#bytes += bytes;
    this.#entries.set(name, { value, bytes, expiresAt: this.#now() + this.#ttlMs });
    for (const [oldest, entry] of this.#entries) {
      if (this.#bytes <= this.#maxBytes && entry.expiresAt > this.#now()) break;
      this.delete(oldest);
      this.#evicted += 1;
    }
  }

  delete(name: string): void {
    this.#bytes -= this.#entries.get(name)?.bytes ?? 0;
    this.#entries.delete(name);
  }

  /** Forgets every value whose name fits. */
  deleteWhere(fits: (name: string) => boolean): void {
    for (const name of this.#entries.keys()) if (fits(name)) this.delete(name);
  }
}
