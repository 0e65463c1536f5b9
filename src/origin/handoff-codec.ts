/**
 * Handoff + generation request ⇄ safetensors bytes (the body of a resumed `POST /v1/generate`); docs/protocol.md has
 * the layout.
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
import {
  bytesOf,
  checkTensor,
  floatTensor,
  readFloats,
  readInts,
  SCALES_SUFFIX,
  stateTensors,
} from "./wire-tensors.ts";
import { STATE_DTYPES, type StateDtype } from "../state-dtype.ts";

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
  /** Hkv. */
  readonly kvHeads: number;
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
    kvHeads: shape.kv_heads,
    vocabSize: shape.vocab_size,
  };
}

export interface DecodedHandoff {
  /** Its arrays are views of the body where dtype and alignment allow. */
  readonly handoff: Handoff;
  readonly request: GenerationRequest;
}

/** How a handoff is written. F32 resumes exactly, F16 halves the bytes, I8 takes about a third. */
export interface WireFormat {
  readonly dtype: StateDtype;
  /** Hkv: in I8 each head of a token has a scale. */
  readonly kvHeads: number;
}
export const EXACT: WireFormat = { dtype: "F32", kvHeads: 1 };

/** Name of a layer's tensor, i = 0-based layer index. */
const layerName = (part: "past_k" | "past_v", i: number): string => `${part}.${i}`;
const HIDDEN = "hidden_state";

/** Bytes of a handoff's tensors on the wire, without the header. */
export function handoffBytes(handoff: Handoff, request: GenerationRequest, { dtype, kvHeads }: WireFormat): number {
  const { inputIds, hiddenState, pastK, pastV, positions } = handoff;
  const size = { F32: 4, F16: 2, I8: 1 }[dtype];
  const rows = 1 + innerOf(handoff, request).length;
  const scales = dtype === "I8" ? 4 * positions * kvHeads * (pastK.length + pastV.length) : 0;
  const state = [...pastK, ...pastV].reduce((sum, { length }) => sum + size * length, scales);
  return inputIds.byteLength + rows * hiddenState.length * Math.max(size, 2) + state;
}

/** Hidden states for the receiver's cache, which only a request that names a scope may fill. */
function innerOf({ innerHidden }: Handoff, { cache }: GenerationRequest): [number, Float32Array][] {
  return cache === undefined ? [] : [...innerHidden];
}

/**
 * Writes a body.
 * @throws {RangeError} when the handoff contradicts itself or the request: a bug of the sender.
 */
export function encodeHandoff(
  handoff: Handoff,
  request: GenerationRequest,
  format: WireFormat = EXACT,
): Uint8Array<ArrayBuffer> {
  const { exitLayer, positions, inputIds, hiddenState, pastK, pastV } = handoff;
  if (exitLayer > MAX_LAYERS || pastK.length !== exitLayer || pastV.length !== exitLayer) {
    throw new RangeError(`handoff after layer ${exitLayer} has ${pastK.length} keys and ${pastV.length} values`);
  }
  if (!sameIds(inputIds, request.token_ids)) throw new RangeError("handoff and request differ in their token ids");
  const checked = (name: string, values: Float32Array): Float32Array => {
    if (positions < 1 || values.length % positions !== 0) {
      throw new RangeError(`${name} does not hold ${positions} rows`);
    }
    return values;
  };
  const hidden = (name: string, rows: Float32Array): TensorEntry =>
    floatTensor(name, checked(name, rows), positions, format.dtype === "F32" ? "F32" : "F16"); // [T, d]
  const state = (part: "past_k" | "past_v") => (rows: Float32Array, i: number) =>
    stateTensors(layerName(part, i), checked(layerName(part, i), rows), positions, format); // [T, Hkv·Dh]
  const tensors: TensorEntry[] = [
    { name: "input_ids", dtype: "I32", shape: [inputIds.length], bytes: bytesOf(inputIds) },
    hidden(HIDDEN, hiddenState),
    ...innerOf(handoff, request).map(([layer, rows]) => hidden(`${HIDDEN}.${layer}`, rows)),
    ...pastK.flatMap(state("past_k")),
    ...pastV.flatMap(state("past_v")),
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
  const inner = target.exits.filter((exit) => exit < exitLayer && tensors.has(`${HIDDEN}.${exit}`));
  const hiddenNames = [HIDDEN, ...inner.map((exit) => `${HIDDEN}.${exit}`)];
  const stateNames = [...layerNames("past_k", exitLayer), ...layerNames("past_v", exitLayer)];
  const scaleNames = stateNames.flatMap((name) => (tensors.get(name)?.dtype === "I8" ? [name + SCALES_SUFFIX] : []));
  const known = new Set(["input_ids", ...hiddenNames, ...stateNames, ...scaleNames]);
  for (const name of tensors.keys()) {
    if (!known.has(name)) throw malformed(`unknown tensor ${name.slice(0, 64)}`);
  }
  const inputIds = readIds(find(tensors, "input_ids"), request, target.vocabSize); // [N]
  const positions = find(tensors, HIDDEN).shape[0] ?? 0; // T
  if (positions < 1 || positions > inputIds.length) {
    throw new HandoffRefusal("handoff_length_mismatch", `${positions} positions for ${inputIds.length} ids`);
  }
  const { hiddenSize, kvSize, kvHeads } = target;
  for (const name of hiddenNames) checkTensor(find(tensors, name), positions, hiddenSize, ["F16", "F32"]);
  for (const name of stateNames) checkTensor(find(tensors, name), positions, kvSize, STATE_DTYPES);
  for (const name of scaleNames) checkTensor(find(tensors, name), positions, kvHeads, ["F32"]);
  const floats = (name: string): Float32Array =>
    readFloats(find(tensors, name), tensors.get(name + SCALES_SUFFIX) ?? null);
  const handoff: Handoff = {
    fingerprint,
    numerics,
    exitLayer,
    positions,
    inputIds,
    hiddenState: floats(HIDDEN),
    innerHidden: new Map(inner.map((exit) => [exit, floats(`${HIDDEN}.${exit}`)])),
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
