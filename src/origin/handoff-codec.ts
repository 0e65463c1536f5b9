/**
 * Handoff + generation request ⇄ safetensors bytes (the body of a resumed `POST /v1/generate`).
 *
 *   __metadata__    protocol, request (JSON), fingerprint, numerics, exit_layer of the sender
 *   input_ids       I32 [N]                 the request's token_ids
 *   hidden_state    F16|F32 [T, d]          1 ≤ T ≤ N
 *   past_k.i        F16|F32 [T, Hkv·Dh]     i = 0 … exit_layer-1
 *   past_v.i        F16|F32 [T, Hkv·Dh]
 */
import type { GenerationRequest } from "../generation.ts";
import type { Handoff, Numerics } from "../handoff.ts";
import { readMetadata } from "./handoff-metadata.ts";
import { HandoffRefusal, malformed } from "./handoff-refusal.ts";
import { MAX_BODY_BYTES, MAX_LAYERS, ORIGIN_PROTOCOL } from "./protocol.ts";
import {
  readSafetensors,
  type Safetensors,
  SafetensorsError,
  type TensorEntry,
  writeSafetensors,
} from "./safetensors.ts";
import { bytesOf, checkFloats, floatBytes, readFloats, readInts, type WireDtype } from "./wire-tensors.ts";

/** What a receiver can resume: its own checkpoint's shape. */
export interface HandoffTarget {
  readonly fingerprint: string;
  /** Numerics whose state is accepted. */
  readonly numerics: readonly Numerics[];
  /** Ascending layer counts. */
  readonly exits: readonly number[];
  readonly hiddenSize: number;
  /** Hkv·Dh. */
  readonly kvSize: number;
  readonly vocabSize: number;
}

/** What of a bundle says which handoffs fit it. */
interface Described {
  readonly fingerprint: string;
  readonly numerics: Numerics;
  readonly shape: Readonly<Record<"hidden_size" | "kv_heads" | "head_dim" | "vocab_size", number>>;
}

/** What a bundle's model can resume. @param exits those that are served */
export function handoffTarget({ fingerprint, numerics, shape }: Described, exits: readonly number[]): HandoffTarget {
  return {
    fingerprint,
    numerics: [numerics],
    exits,
    hiddenSize: shape.hidden_size,
    kvSize: shape.kv_heads * shape.head_dim,
    vocabSize: shape.vocab_size,
  };
}

export interface DecodedHandoff {
  /** Its arrays are views of the body where dtype and alignment allow. */
  readonly handoff: Handoff;
  readonly request: GenerationRequest;
}

/** Name of a layer's tensor, i = 0-based layer index. */
const layerName = (part: "past_k" | "past_v", i: number): string => `${part}.${i}`;

/** Bytes of a handoff's tensors on the wire, without the header. */
export function handoffBytes({ inputIds, hiddenState, pastK, pastV }: Handoff, dtype: WireDtype = "F32"): number {
  const floats = [hiddenState, ...pastK, ...pastV].reduce((sum, { length }) => sum + length, 0);
  return inputIds.byteLength + floats * (dtype === "F32" ? 4 : 2);
}

/**
 * Writes a body.
 * @param dtype F32 resumes exactly; F16 halves the bytes.
 * @throws {RangeError} when the handoff contradicts itself or the request: a bug of the sender.
 */
export function encodeHandoff(
  handoff: Handoff,
  request: GenerationRequest,
  dtype: WireDtype = "F32",
): Uint8Array<ArrayBuffer> {
  const { exitLayer, positions, inputIds, hiddenState, pastK, pastV } = handoff;
  if (exitLayer > MAX_LAYERS || pastK.length !== exitLayer || pastV.length !== exitLayer) {
    throw new RangeError(`handoff after layer ${exitLayer} has ${pastK.length} keys and ${pastV.length} values`);
  }
  if (!sameIds(inputIds, request.token_ids)) throw new RangeError("handoff and request differ in their token ids");
  const floats = (name: string, values: Float32Array): TensorEntry => {
    if (positions < 1 || values.length % positions !== 0) {
      throw new RangeError(`${name} does not hold ${positions} rows`);
    }
    return { name, dtype, shape: [positions, values.length / positions], bytes: floatBytes(values, dtype) };
  };
  const tensors: TensorEntry[] = [
    { name: "input_ids", dtype: "I32", shape: [inputIds.length], bytes: bytesOf(inputIds) },
    floats("hidden_state", hiddenState), // [T, d]
    ...pastK.map((keys, i) => floats(layerName("past_k", i), keys)), // [T, Hkv·Dh]
    ...pastV.map((values, i) => floats(layerName("past_v", i), values)), // [T, Hkv·Dh]
  ];
  const metadata = {
    protocol: ORIGIN_PROTOCOL,
    request: JSON.stringify(request),
    fingerprint: handoff.fingerprint,
    numerics: handoff.numerics,
    exit_layer: String(exitLayer),
  };
  return writeSafetensors(metadata, tensors);
}

/**
 * Reads a body for a receiver; every length, offset, dtype and bound is checked before anything is allocated.
 * @throws {HandoffRefusal} and nothing else.
 */
export function decodeHandoff(body: Uint8Array, target: HandoffTarget): DecodedHandoff {
  if (body.length > MAX_BODY_BYTES) throw new HandoffRefusal("handoff_malformed", "the body is too large");
  const { metadata, tensors } = readContainer(body);
  const { request, fingerprint, numerics, exitLayer } = readMetadata(metadata);
  if (fingerprint !== target.fingerprint) {
    throw new HandoffRefusal("handoff_fingerprint_mismatch", `made by ${fingerprint}, this is ${target.fingerprint}`);
  }
  if (!target.numerics.includes(numerics)) {
    throw new HandoffRefusal("handoff_numerics_mismatch", `numerics ${numerics} are not resumed here`);
  }
  if (!target.exits.includes(exitLayer) || exitLayer > request.exit_layer) {
    throw new HandoffRefusal("handoff_exit_mismatch", `no way from layer ${exitLayer} to ${request.exit_layer}`);
  }
  const names = ["hidden_state", ...layerNames("past_k", exitLayer), ...layerNames("past_v", exitLayer)];
  for (const name of tensors.keys()) {
    if (name !== "input_ids" && !names.includes(name)) throw malformed(`unknown tensor ${name.slice(0, 64)}`);
  }
  const inputIds = readIds(find(tensors, "input_ids"), request, target.vocabSize); // [N]
  const positions = find(tensors, "hidden_state").shape[0] ?? 0; // T
  if (positions < 1 || positions > inputIds.length) {
    throw new HandoffRefusal("handoff_length_mismatch", `${positions} positions for ${inputIds.length} ids`);
  }
  for (const name of names) {
    checkFloats(find(tensors, name), positions, name === "hidden_state" ? target.hiddenSize : target.kvSize);
  }
  const floats = (name: string): Float32Array => readFloats(find(tensors, name));
  const handoff: Handoff = {
    fingerprint,
    numerics,
    exitLayer,
    positions,
    inputIds,
    hiddenState: floats("hidden_state"),
    pastK: layerNames("past_k", exitLayer).map(floats),
    pastV: layerNames("past_v", exitLayer).map(floats),
  };
  return { handoff, request };
}

const layerNames = (part: "past_k" | "past_v", layers: number): string[] =>
  Array.from({ length: layers }, (_, i) => layerName(part, i));

const sameIds = (ids: Int32Array, tokenIds: readonly number[]): boolean =>
  ids.length === tokenIds.length && ids.every((id, i) => id === tokenIds[i]);

function readContainer(body: Uint8Array): Safetensors {
  try {
    return readSafetensors(body);
  } catch (error) {
    if (!(error instanceof SafetensorsError)) throw error;
    const codes = {
      malformed: "handoff_malformed",
      dtype: "handoff_dtype_unsupported",
      length: "handoff_length_mismatch",
    } as const;
    throw new HandoffRefusal(codes[error.reason], error.message);
  }
}

function find(tensors: Safetensors["tensors"], name: string): TensorEntry {
  const tensor = tensors.get(name);
  if (tensor === undefined) throw malformed(`tensor ${name} is missing`);
  return tensor;
}

/** @returns `[N]`, equal to the request's ids and inside the vocabulary. */
function readIds(tensor: TensorEntry, request: GenerationRequest, vocabSize: number): Int32Array {
  const ids = readInts(tensor);
  if (!sameIds(ids, request.token_ids)) {
    throw new HandoffRefusal("handoff_length_mismatch", "input_ids differ from the request's token_ids");
  }
  if (ids.some((id) => id < 0 || id >= vocabSize)) throw malformed("an id lies outside the vocabulary");
  return ids;
}
