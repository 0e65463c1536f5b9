"""Handoff + generation request ⇄ safetensors bytes: the layout of src/origin/handoff-codec.ts."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import torch

from ..engine.sequence import State
from .container import Entry, malformed, read_container, write_container
from .protocol import MAX_BODY_BYTES, MAX_LAYERS, PROTOCOL, GenerationRequest, Refusal, read_request

NUMERICS = ("w8a8", "fp32", "bf16")
METADATA_KEYS = {"protocol", "request", "fingerprint", "numerics", "exit_layer"}
FINGERPRINT = re.compile(r"[0-9a-f]{16}")
EXIT_LAYER = re.compile(r"[1-9][0-9]{0,2}")
FLOATS = {"F16": np.float16, "F32": np.float32}
# Of keys and values; in I8 each token and head has a scale, in a tensor of its own.
STATES = {**FLOATS, "I8": np.int8}
SCALES = {"F32": np.float32}
HALF_MAX = 65_504
INT8_MAX = 127


@dataclass(frozen=True)
class Target:
    """What a receiver can resume: its own checkpoint's shape. numerics: whose state is accepted, its own first."""

    fingerprint: str
    numerics: tuple[str, ...]
    exits: tuple[int, ...]
    hidden_size: int
    kv_width: int
    vocabulary: int
    kv_heads: int


def decode_handoff(body: bytes, target: Target) -> tuple[GenerationRequest, State]:
    """Reads a body; every length, offset, dtype and bound is checked before anything is allocated.

    Raises Refusal 400 with one of the `handoff_…` codes and nothing else.
    """
    if len(body) > MAX_BODY_BYTES:
        raise malformed("the body is too large")
    metadata, entries = read_container(body)
    request, exit_layer = read_metadata(metadata, target)
    inner = {k: name for k in target.exits if k < exit_layer and (name := f"hidden_state.{k}") in entries}
    states = [f"past_{part}.{i}" for part in "kv" for i in range(exit_layer)]
    scales = [f"{name}.scale" for name in states if name in entries and entries[name].dtype == "I8"]
    unknown = entries.keys() - {"input_ids", "hidden_state", *inner.values(), *states, *scales}
    if unknown:
        raise malformed(f"unknown tensor {min(unknown)[:64]}")
    count = read_ids(find(entries, "input_ids"), request, target.vocabulary)
    shape = find(entries, "hidden_state").shape
    positions = shape[0] if shape else 0
    if not 1 <= positions <= count:
        raise Refusal(400, "handoff_length_mismatch", f"{positions} positions for {count} ids")
    for names, width, dtypes in (
        (["hidden_state", *inner.values()], target.hidden_size, FLOATS),
        (states, target.kv_width, STATES),
        (scales, target.kv_heads, SCALES),
    ):
        for name in names:
            check_tensor(find(entries, name), positions, width, dtypes)
    keys, values = (torch.stack([read_floats(entries, f"past_{part}.{i}") for i in range(exit_layer)]) for part in "kv")
    own = metadata["numerics"] == target.numerics[0]
    hidden = {k: read_floats(entries, name) for k, name in inner.items()}
    return request, State(exit_layer, read_floats(entries, "hidden_state"), keys, values, own, hidden)


def read_metadata(metadata: dict[str, str], target: Target) -> tuple[GenerationRequest, int]:
    """The request and the sender's exit, if its state can be resumed here at all."""
    fits = metadata.keys() == METADATA_KEYS and metadata["protocol"] == PROTOCOL and metadata["numerics"] in NUMERICS
    if (
        not fits
        or not FINGERPRINT.fullmatch(metadata["fingerprint"])
        or not EXIT_LAYER.fullmatch(metadata["exit_layer"])
    ):
        raise malformed("__metadata__ is not that of a handoff")
    exit_layer = int(metadata["exit_layer"])
    if exit_layer > MAX_LAYERS:
        raise malformed(f"more than {MAX_LAYERS} layers")
    try:
        request = read_request(metadata["request"])
    except Refusal as refusal:
        raise malformed(f"the request in __metadata__ is invalid: {refusal.message}") from None
    if metadata["fingerprint"] != target.fingerprint:
        message = f"made by {metadata['fingerprint']}, this is {target.fingerprint}"
        raise Refusal(400, "handoff_fingerprint_mismatch", message)
    if metadata["numerics"] not in target.numerics:
        raise Refusal(400, "handoff_numerics_mismatch", f"numerics {metadata['numerics']} are not resumed here")
    if exit_layer not in target.exits or exit_layer > request.exit_layer:
        raise Refusal(400, "handoff_exit_mismatch", f"no way from layer {exit_layer} to {request.exit_layer}")
    return request, exit_layer


def find(entries: dict[str, Entry], name: str) -> Entry:
    """A tensor that must be there."""
    if name not in entries:
        raise malformed(f"tensor {name} is missing")
    return entries[name]


def read_ids(entry: Entry, request: GenerationRequest, vocabulary: int) -> int:
    """N, once the ids are proven to be the request's and inside the vocabulary."""
    if entry.dtype != "I32":
        raise Refusal(400, "handoff_dtype_unsupported", f"{entry.name} is {entry.dtype}")
    if len(entry.shape) != 1:
        raise Refusal(400, "handoff_shape_mismatch", f"{entry.name} is not [N]")
    ids = np.frombuffer(entry.data, dtype="<i4")
    if ids.tolist() != request.token_ids:
        raise Refusal(400, "handoff_length_mismatch", "input_ids differ from the request's token_ids")
    if ids.min() < 0 or ids.max() >= vocabulary:
        raise malformed("an id lies outside the vocabulary")
    return len(ids)


def check_tensor(entry: Entry, rows: int, columns: int, dtypes: dict[str, type]) -> None:
    """Raises Refusal unless the tensor is [rows, columns] of one of the dtypes."""
    if entry.dtype not in dtypes:
        raise Refusal(400, "handoff_dtype_unsupported", f"{entry.name} is {entry.dtype}")
    if entry.shape != (rows, columns):
        raise Refusal(400, "handoff_shape_mismatch", f"{entry.name} is {list(entry.shape)}, not [{rows}, {columns}]")


def read_floats(entries: dict[str, Entry], name: str) -> torch.Tensor:
    """A checked tensor as float32 [rows, columns]; a copy. Raises Refusal where a value is not finite."""
    entry, scale = entries[name], entries.get(f"{name}.scale")
    values = np.frombuffer(entry.data, dtype=STATES[entry.dtype]).astype(np.float32).reshape(entry.shape)
    if scale is not None:
        heads = np.frombuffer(scale.data, dtype=np.float32).reshape(scale.shape)  # [T, Hkv]
        values = values * np.repeat(heads, values.shape[1] // heads.shape[1], axis=1)
    if not np.isfinite(values).all():
        raise malformed(f"{name} holds a value that is not finite")
    return torch.from_numpy(values)


def to_int8(rows: np.ndarray, heads: int) -> tuple[np.ndarray, np.ndarray]:
    """rows [T, Hkv·Dh] float32 as integers [T, Hkv·Dh] and scales [T, Hkv], as src/int8-rows.ts makes them."""
    by_head = rows.reshape(len(rows), heads, -1).astype(np.float64)
    scales = np.abs(by_head).max(axis=2) / INT8_MAX
    steps = np.floor(by_head / np.where(scales == 0, 1, scales)[:, :, None] + 0.5)
    return steps.astype(np.int8).reshape(rows.shape), scales.astype(np.float32)


def encode_handoff(
    state: State,
    request_json: str,
    ids: list[int],
    fingerprint: str,
    numerics: str,
    dtype: str = "F32",
    kv_heads: int = 1,
) -> bytes:
    """A body as the TypeScript codec writes it. dtype: F32, F16 or I8, of keys and values; hidden states are F32 in
    F32, otherwise F16.
    """

    def array(rows: torch.Tensor) -> np.ndarray:
        return rows.float().cpu().numpy()

    def floats(name: str, rows: np.ndarray, kind: str) -> tuple[str, str, tuple[int, ...], bytes]:
        kept = rows if kind == "F32" else rows.clip(-HALF_MAX, HALF_MAX)
        return name, kind, rows.shape, kept.astype(FLOATS[kind]).tobytes()

    def states(name: str, rows: np.ndarray) -> list[tuple[str, str, tuple[int, ...], bytes]]:
        if dtype != "I8":
            return [floats(name, rows, dtype)]
        integers, scales = to_int8(rows, kv_heads)
        return [(name, dtype, rows.shape, integers.tobytes()), floats(f"{name}.scale", scales, "F32")]

    hidden = "F32" if dtype == "F32" else "F16"
    tensors = [("input_ids", "I32", (len(ids),), np.asarray(ids, dtype="<i4").tobytes())]
    tensors.append(floats("hidden_state", array(state.hidden), hidden))
    tensors += [floats(f"hidden_state.{k}", array(rows), hidden) for k, rows in state.inner.items()]
    for part, layers in (("k", state.keys), ("v", state.values)):
        for i, rows in enumerate(layers):
            tensors += states(f"past_{part}.{i}", array(rows))
    metadata = {
        "protocol": PROTOCOL,
        "request": request_json,
        "fingerprint": fingerprint,
        "numerics": numerics,
        "exit_layer": str(state.exit_layer),
    }
    return write_container(metadata, tensors)
