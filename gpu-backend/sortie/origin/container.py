"""The safetensors container, read strictly, as src/origin/safetensors.ts does.

The `safetensors` package reads files that one trusts; what comes by wire needs an error that says what is wrong, and
bounds before anything is allocated. (https://github.com/huggingface/safetensors#format)
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from math import prod
from typing import Any

from .protocol import MAX_HEADER_BYTES, MAX_LAYERS, Refusal

LENGTH_BYTES = 8
ALIGNMENT = 8
# `__metadata__`, ids, and of every layer hidden states, keys and values, and the scales of these.
MAX_ENTRIES = 2 + 5 * MAX_LAYERS
MAX_RANK = 4
MAX_DTYPE_CHARS = 16
ELEMENT_BYTES = {
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E4M3", "F8_E5M2"), 1),
    **dict.fromkeys(("I16", "U16", "F16", "BF16"), 2),
    **dict.fromkeys(("I32", "U32", "F32"), 4),
    **dict.fromkeys(("I64", "U64", "F64"), 8),
}


@dataclass(frozen=True)
class Entry:
    """A tensor: `data` is a view of the file."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    data: memoryview


def malformed(message: str) -> Refusal:
    """The commonest refusal."""
    return Refusal(400, "handoff_malformed", message)


def read_container(body: bytes) -> tuple[dict[str, str], dict[str, Entry]]:
    """Metadata and tensors by name. Raises Refusal 400 for anything but a whole, tight, unambiguous file."""
    if len(body) < LENGTH_BYTES:
        raise malformed("shorter than its length field")
    length = int.from_bytes(body[:LENGTH_BYTES], "little")
    if length > MAX_HEADER_BYTES:
        raise malformed(f"header of more than {MAX_HEADER_BYTES} bytes")
    start = LENGTH_BYTES + length
    if start > len(body):
        raise malformed("header is cut short")
    header = parse_header(body[LENGTH_BYTES:start])
    metadata = header.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise malformed("__metadata__ must hold strings alone")
    data = memoryview(body)[start:]
    entries = {name: read_entry(name, value, data) for name, value in header.items()}
    check_coverage([value["data_offsets"] for value in header.values()], len(data))
    return metadata, entries


def parse_header(text: bytes) -> dict[str, Any]:
    """The header as an object without a key that stands twice."""
    try:
        value = json.loads(text.decode("utf-8"), object_pairs_hook=unique)
    except (ValueError, RecursionError):
        raise malformed("header is not JSON") from None
    if not isinstance(value, dict):
        raise malformed("header is not an object")
    if len(value) > MAX_ENTRIES:
        raise malformed(f"more than {MAX_ENTRIES} entries")
    return value


def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object's pairs as a dict. Raises Refusal where a key stands twice."""
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise malformed(f"key {key[:64]!r} stands twice in the header")
        found[key] = value
    return found


def read_entry(name: str, value: object, data: memoryview) -> Entry:
    """One tensor of the header, checked against the bytes."""
    label = repr(name[:64])
    if not isinstance(value, dict) or value.keys() != {"dtype", "shape", "data_offsets"}:
        raise malformed(f"tensor {label} is described wrongly")
    dtype, shape, offsets = value["dtype"], value["shape"], value["data_offsets"]
    known = isinstance(dtype, str) and len(dtype) <= MAX_DTYPE_CHARS and sizes(shape) and len(shape) <= MAX_RANK
    if not known or not sizes(offsets) or len(offsets) != 2:
        raise malformed(f"tensor {label} is described wrongly")
    if dtype not in ELEMENT_BYTES:
        raise Refusal(400, "handoff_dtype_unsupported", f"tensor {label} has dtype {dtype}")
    begin, end = offsets
    if begin > end or end > len(data):
        raise Refusal(400, "handoff_length_mismatch", f"tensor {label} lies outside the data")
    expected = ELEMENT_BYTES[dtype] * prod(shape)
    if expected != end - begin:
        message = f"tensor {label} needs {expected} bytes and has {end - begin}"
        raise Refusal(400, "handoff_length_mismatch", message)
    return Entry(name, dtype, tuple(shape), data[begin:end])


def sizes(value: object) -> bool:
    """Whether a value is a list of whole numbers from 0 that JavaScript could hold, too."""
    return isinstance(value, list) and all(type(n) is int and 0 <= n < 2**53 for n in value)


def check_coverage(offsets: list[list[int]], length: int) -> None:
    """The format allows neither overlap nor holes: the tensors tile the data."""
    end = 0
    for begin, stop in sorted(map(tuple, offsets)):
        if begin != end:
            raise malformed("tensors overlap or leave a hole")
        end = stop
    if end != length:
        raise malformed("bytes after the last tensor")


def write_container(metadata: dict[str, str], tensors: list[tuple[str, str, tuple[int, ...], bytes]]) -> bytes:
    """name, dtype, shape and bytes of each tensor as a file, byte for byte as src/origin/safetensors.ts writes it."""
    header: dict[str, Any] = {"__metadata__": metadata}
    end = 0
    for name, dtype, shape, data in tensors:
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [end, end + len(data)]}
        end += len(data)
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % ALIGNMENT)
    return len(text).to_bytes(LENGTH_BYTES, "little") + text + b"".join(data for *_, data in tensors)
