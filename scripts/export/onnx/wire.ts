/**
 * The protobuf wire format, as far as ONNX needs it: a message is a run of fields, each a tag
 * (field number and wire type) and a value. Specification: https://protobuf.dev/programming-guides/encoding/
 */

/** Wire types in use. */
const VARINT = 0;
const LENGTH_DELIMITED = 2;
const FIXED32 = 5;

/** First size of a message's buffer in bytes; it doubles when full. */
const INITIAL_CAPACITY = 256;
/** The longest varint: 64 bits in groups of 7. */
const VARINT_BYTES = 10;

const utf8 = new TextEncoder();

/** Appends fields to one message. Sub-messages are finished first, then embedded as bytes. */
export class MessageWriter {
  #buffer = new Uint8Array(INITIAL_CAPACITY);
  #length = 0;

  #reserve(bytes: number): void {
    if (this.#length + bytes <= this.#buffer.length) return;
    const grown = new Uint8Array(Math.max(this.#buffer.length * 2, this.#length + bytes));
    grown.set(this.#buffer.subarray(0, this.#length));
    this.#buffer = grown;
  }

  /** Two's complement in 64 bits, low groups of 7 bits first. */
  #varint(value: bigint): void {
    this.#reserve(VARINT_BYTES);
    let rest = BigInt.asUintN(64, value);
    while (rest > 0x7fn) {
      this.#buffer[this.#length++] = Number(rest & 0x7fn) | 0x80;
      rest >>= 7n;
    }
    this.#buffer[this.#length++] = Number(rest);
  }

  #tag(field: number, wireType: number): void {
    this.#varint(BigInt((field << 3) | wireType));
  }

  /** An int32, int64, bool or enum field. @throws RangeError when `value` is no integer. */
  int(field: number, value: number | bigint): this {
    this.#tag(field, VARINT);
    this.#varint(BigInt(value));
    return this;
  }

  /** A float field (32 bits, little-endian). */
  float(field: number, value: number): this {
    this.#tag(field, FIXED32);
    this.#reserve(4);
    new DataView(this.#buffer.buffer).setFloat32(this.#length, value, true);
    this.#length += 4;
    return this;
  }

  /** A bytes field or a finished sub-message. */
  bytes(field: number, value: Uint8Array): this {
    this.#tag(field, LENGTH_DELIMITED);
    this.#varint(BigInt(value.length));
    this.#reserve(value.length);
    this.#buffer.set(value, this.#length);
    this.#length += value.length;
    return this;
  }

  string(field: number, value: string): this {
    return this.bytes(field, utf8.encode(value));
  }

  message(field: number, value: MessageWriter): this {
    return this.bytes(field, value.finish());
  }

  /** The message's bytes; a view that a later write may outgrow. */
  finish(): Uint8Array {
    return this.#buffer.subarray(0, this.#length);
  }
}
