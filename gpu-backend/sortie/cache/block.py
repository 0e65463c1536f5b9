"""What one segment made of one block of tokens: a row of numbers in memory, sealed bytes elsewhere.

    row   hidden_state [32, d], then for each layer of the segment keys [32, Hkv·Dh] and values [32, Hkv·Dh]

Sealed as F32, which holds float32 and bfloat16 exactly (docs/protocol.md, "Bytes").
"""

from __future__ import annotations

from hashlib import sha256
from struct import pack as struct_pack

import torch
from torch import Tensor

from ..engine.pages import BLOCK_TOKENS
from .keys import BlockKey

MAGIC = b"SORTIEB1"
F32 = 0


def pack(hidden: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """hidden [B·32, d], keys and values [layers, B, 32, Hkv·Dh] of B blocks → their rows [B, E]."""
    blocks = keys.shape[1]
    layers = torch.stack((keys, values), 1).permute(2, 0, 1, 3, 4)  # [B, layers, 2, 32, Hkv·Dh]
    return torch.cat((hidden.reshape(blocks, -1), layers.reshape(blocks, -1)), 1)


def unpack(rows: Tensor, hidden_size: int, layers: int) -> tuple[Tensor, Tensor, Tensor]:
    """Rows [B, E] → hidden [B·32, d], keys and values [layers, B, 32, Hkv·Dh]."""
    blocks, split = len(rows), BLOCK_TOKENS * hidden_size
    hidden = rows[:, :split].reshape(blocks * BLOCK_TOKENS, hidden_size)
    keys, values = rows[:, split:].reshape(blocks, layers, 2, BLOCK_TOKENS, -1).permute(2, 1, 0, 3, 4)
    return hidden, keys, values


def seal(row: Tensor, key: BlockKey, last_layer: int) -> bytes:
    """A row [E] as it leaves memory: header, digest, payload in F32, little-endian."""
    head = MAGIC + struct_pack("<B3xI", F32, last_layer) + bytes.fromhex(key.key)
    payload = row.float().numpy().astype("<f4", copy=False).tobytes()
    return head + sha256(head + payload).digest() + payload
