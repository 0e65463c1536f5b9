/**
 * Frees an array's whole buffer now; the array is empty afterwards. A token of a large vocabulary leaves some 200 kB: left
 * to the collector, they make it run every few dozen tokens, on the very cores that decode.
 */
export function release({ buffer }: Float32Array): void {
  if (buffer instanceof ArrayBuffer) buffer.transfer(0);
}
