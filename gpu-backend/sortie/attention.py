"""Attention written out, for training on a CPU.

PyTorch's fused attention for CPUs is slow in the backward pass in bfloat16: of a step of models/tiny's shape it took
43 %. With the same products and softmax as single operators, compiled with the rest of the layer, a step takes 0.7
times as long (docs/log.md, 2026-11-25).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from transformers import AttentionInterface

WRITTEN_OUT = "written_out"


def written_out(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scaling: float, **_: object
) -> tuple[Tensor, None]:
    """query [B, H, T, Dh], key and value [B, Hkv, T, Dh] → [B, T, H, Dh], softmax in float32.

    mask: bool [B or 1, 1, T, T], True where a token may look; None for plain causal attention.
    """
    groups = module.num_key_value_groups
    key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
    length = query.shape[2]
    if mask is None:
        mask = torch.ones(length, length, dtype=torch.bool, device=query.device).tril()
    scores = (query @ key.transpose(-1, -2)).float() * scaling
    weights = scores.masked_fill(~mask, float("-inf")).softmax(-1).to(value.dtype)
    return (weights @ value).transpose(1, 2).contiguous(), None


AttentionInterface.register(WRITTEN_OUT, written_out)
