"""Losses of the two phases."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from .nested import NestedModel

# Label of a position that carries no loss.
IGNORE = -100


def exit_losses(model: NestedModel, exits: dict[int, Tensor], labels: Tensor) -> dict[int, Tensor]:
    """Cross-entropy (nats) of each exit at the positions that carry loss.

    exits: {k: hidden [B, T, d]}, labels [B, T] already shifted, IGNORE where there is no loss. Positions are
    gathered before the head, so that logits exist for answers only.
    """
    keep = labels != IGNORE
    wanted = labels[keep]  # [N]
    return {k: F.cross_entropy(model.logits(hidden[keep]).float(), wanted) for k, hidden in exits.items()}


def sorted_loss(losses: dict[int, Tensor]) -> Tensor:
    """SoFT: the plain mean over exits (Valipour et al. 2023, "Sorted LLaMA", section 3)."""
    return sum(losses.values()) / len(losses)
