/** A binary heap of numbers, the smallest first, in flat memory. A leaf. */

export class MinHeap {
  #items: Float64Array;
  #size = 0;

  /** @param capacity numbers it first has room for */
  constructor(capacity: number) {
    this.#items = new Float64Array(Math.max(capacity, 1));
  }

  get size(): number {
    return this.#size;
  }

  push(item: number): void {
    if (this.#size === this.#items.length) {
      const larger = new Float64Array(this.#size * 2);
      larger.set(this.#items);
      this.#items = larger;
    }
    const items = this.#items;
    let at = this.#size++;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      const above = items[parent] as number;
      if (above <= item) break;
      items[at] = above;
      at = parent;
    }
    items[at] = item;
  }

  /** Takes the smallest. @throws RangeError when it is empty */
  pop(): number {
    if (this.#size === 0) throw new RangeError("the heap is empty");
    const items = this.#items;
    const smallest = items[0] as number;
    const item = items[--this.#size] as number;
    let at = 0;
    for (let child = 1; child < this.#size; child = 2 * at + 1) {
      if (child + 1 < this.#size && (items[child + 1] as number) < (items[child] as number)) child++;
      const below = items[child] as number;
      if (below >= item) break;
      items[at] = below;
      at = child;
    }
    items[at] = item;
    return smallest;
  }
}
