/** Who wants an answer: its own client, and whoever reads along while it is computed. A leaf. */

export class Interest {
  readonly #gone: AbortSignal;
  readonly #over = new AbortController();
  #shared: { readonly ended: Promise<void>; readonly goOn: () => void } | null = null;

  /** @param gone aborted when the client is gone */
  constructor(gone: AbortSignal) {
    this.#gone = gone;
    if (gone.aborted) this.#left();
    else gone.addEventListener("abort", () => this.#left(), { once: true });
  }

  /** Aborted when nobody wants the answer any more: its client is gone, and nobody reads along. */
  get over(): AbortSignal {
    return this.#over.signal;
  }

  /**
   * From now on others may read along.
   * @param ended resolves when nobody does any more, once the client is gone
   * @param goOn called when it is: the rest is not asked for here, but wanted until `ended`
   */
  share(ended: Promise<void>, goOn: () => void): void {
    this.#shared = { ended, goOn };
    if (this.#gone.aborted) this.#left();
  }

  #left(): void {
    const end = (): void => this.#over.abort(this.#gone.reason);
    if (this.#shared === null) return end();
    this.#shared.goOn();
    void this.#shared.ended.then(end);
  }
}
