/** Float rows as 8-bit integers, one scale a token and head: a block's payload, and a handoff's keys and values. A leaf. */

/** Largest integer: -128 is not used, so that signs are symmetric. */
const LARGEST = 127;

export interface Int8Rows {
  /** `[T, H]`: each head's largest magnitude / 127. */
  readonly scales: Float32Array;
  /** `[T, H·Dh]`: `floor(value / scale + 0.5)`, 0 where the scale is 0. */
  readonly integers: Int8Array;
}

/** @param values `[T, H·Dh]`. @param headDim Dh */
export function toInt8(values: Float32Array, headDim: number): Int8Rows {
  const scales = new Float32Array(values.length / headDim);
  const integers = new Int8Array(values.length);
  for (let head = 0; head < scales.length; head++) {
    const [start, end] = [head * headDim, (head + 1) * headDim];
    let largest = 0;
    for (let at = start; at < end; at++) largest = Math.max(largest, Math.abs(values[at] ?? 0));
    const scale = largest / LARGEST;
    scales[head] = scale;
    for (let at = start; at < end; at++) integers[at] = scale === 0 ? 0 : Math.round((values[at] ?? 0) / scale);
  }
  return { scales, integers };
}

/** `[T, H·Dh]`. @param headDim Dh */
export function fromInt8({ scales, integers }: Int8Rows, headDim: number): Float32Array<ArrayBuffer> {
  const values = new Float32Array(integers.length);
  for (let head = 0; head < scales.length; head++) {
    const scale = scales[head] ?? 0;
    for (let at = head * headDim; at < (head + 1) * headDim; at++) values[at] = (integers[at] ?? 0) * scale;
  }
  return values;
}
