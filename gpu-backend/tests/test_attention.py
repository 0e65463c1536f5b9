"""Attention written out against PyTorch's own."""

from __future__ import annotations

import pytest
import torch

from sortie.attention import WRITTEN_OUT
from sortie.nested import NestedModel


@pytest.mark.parametrize("packed", [False, True])
def test_it_is_what_transformers_computes(any_model: NestedModel, ids: torch.Tensor, packed: bool) -> None:
    segments = (torch.arange(ids.shape[1]) // 7)[None].expand_as(ids) if packed else None

    def run() -> tuple[list[torch.Tensor], torch.Tensor]:
        any_model.zero_grad()
        hidden = list(any_model.exit_hidden(ids, segments).values())
        sum(h.square().sum() for h in hidden).backward()
        return hidden, any_model.lm.model.embed_tokens.weight.grad.clone()

    expected, gradient = run()
    any_model.lm.set_attn_implementation(WRITTEN_OUT)
    actual, own_gradient = run()
    for theirs, ours in zip(expected, actual, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(own_gradient, gradient, rtol=1e-3, atol=1e-4)
