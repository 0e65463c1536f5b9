/**
 * IEEE 754 binary16 ⇄ binary32. `Float16Array` does the work where the runtime has one (workerd, Node 24);
 * Node 22 has none, so the same arithmetic stands here in bits. A leaf.
 */

/** The part of `Float16Array` that is used; TypeScript's es2024 library does not name it. */
type Float16Array = { [index: number]: number; readonly buffer: ArrayBufferLike; set(from: ArrayLike<number>): void };
type Float16ArrayConstructor = new (buffer: ArrayBufferLike, byteOffset: number, length: number) => Float16Array;

const Float16 = (globalThis as { Float16Array?: Float16ArrayConstructor }).Float16Array;

/** Reads `half` into `out`, element by element. Exact. */
export function halfToFloat(half: Uint16Array, out: Float32Array): void {
  if (Float16 === undefined) halfToFloatInBits(half, out);
  else out.set(new Float16(half.buffer, half.byteOffset, half.length) as unknown as ArrayLike<number>);
}

/** Writes `values` into `out`, rounded to the nearest, ties to even; beyond ±65504 becomes infinite. */
export function floatToHalf(values: Float32Array, out: Uint16Array): void {
  if (Float16 === undefined) floatToHalfInBits(values, out);
  else new Float16(out.buffer, out.byteOffset, out.length).set(values);
}

/** Largest half: beyond it a value would become infinite. */
const HALF_MAX = 65_504;

/** `values` as halves, those beyond the largest one clamped to it: state that is stored or sent stays finite. */
export function halvesOf(values: Float32Array): Uint16Array<ArrayBuffer> {
  const halves = new Uint16Array(values.length);
  const fits = values.every((value) => Math.abs(value) <= HALF_MAX);
  floatToHalf(fits ? values : values.map((value) => Math.min(Math.max(value, -HALF_MAX), HALF_MAX)), halves);
  return halves;
}

/** The floats that halves stand for. */
export function floatsOf(halves: Uint16Array): Float32Array<ArrayBuffer> {
  const floats = new Float32Array(halves.length);
  halfToFloat(halves, floats);
  return floats;
}

/** 2^-24, the smallest subnormal half. */
const HALF_STEP = 2 ** -24;
/** 2^-10: a half has 10 fraction bits. */
const FRACTION_STEP = 2 ** -10;

/** `halfToFloat` without `Float16Array`. */
export function halfToFloatInBits(half: Uint16Array, out: Float32Array): void {
  for (let i = 0; i < half.length; i++) {
    const bits = half[i]!;
    const sign = bits & 0x8000 ? -1 : 1;
    const exponent = (bits >> 10) & 0x1f;
    const fraction = bits & 0x3ff;
    if (exponent === 0) out[i] = sign * fraction * HALF_STEP;
    else if (exponent === 31) out[i] = fraction === 0 ? sign * Infinity : NaN;
    else out[i] = sign * (1 + fraction * FRACTION_STEP) * 2 ** (exponent - 15);
  }
}

/** `floatToHalf` without `Float16Array`. */
export function floatToHalfInBits(values: Float32Array, out: Uint16Array): void {
  const words = new Uint32Array(values.buffer, values.byteOffset, values.length);
  for (let i = 0; i < words.length; i++) out[i] = halfBits(words[i]!);
}

/** The half nearest to a float given by its bits. */
function halfBits(word: number): number {
  const sign = (word >>> 16) & 0x8000;
  const magnitude = word & 0x7fffffff;
  if (magnitude > 0x7f800000) return sign | 0x7e00; // NaN
  const exponent = (magnitude >>> 23) - 127;
  if (exponent > 15) return sign | 0x7c00; // ≥ 2^16: infinite
  if (exponent < -25) return sign; // < 2^-25: zero
  const significand = (magnitude & 0x7fffff) | 0x800000; // 24 bits
  // A normal half keeps 11 significant bits, a subnormal one fewer for each binade below 2^-14.
  const dropped = exponent < -14 ? 13 + (-14 - exponent) : 13;
  const kept = significand >>> dropped;
  const rest = significand & ((1 << dropped) - 1);
  const middle = 1 << (dropped - 1);
  const rounded = kept + (rest > middle || (rest === middle && (kept & 1) === 1) ? 1 : 0);
  // The implicit bit of a normal half adds one to the exponent field; a carry does the rest.
  return sign | (exponent < -14 ? rounded : ((exponent + 14) << 10) + rounded);
}
