"""Losses of the exits, computed a chunk of positions at a time.

Logits of B·T positions over V ids would be the largest tensor of a step, once an exit. Here the answers' positions are
gathered first and their logits exist for one chunk only: each chunk is recomputed in the backward pass.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from .nested import NestedModel

# Label of a position that carries no loss.
IGNORE = -100
# Float32 logits alive at once, all exits of a chunk together.
LOGIT_BYTES = 64 << 20
LEAST_ROWS = 16


def chunk_rows(exits: int, vocabulary: int) -> int:
    """Positions whose logits at all exits fit in LOGIT_BYTES."""
    return max(LEAST_ROWS, LOGIT_BYTES // (4 * exits * vocabulary))


class Lesson(NamedTuple):
    """A teacher and its deepest exit's hidden states [B, T, d] for a batch."""

    teacher: NestedModel
    hidden: Tensor


def exit_losses(
    model: NestedModel,
    hidden: dict[int, Tensor],
    labels: Tensor,
    distilled: bool = False,
    lesson: Lesson | None = None,
    rows: int | None = None,
    apart: bool = False,
) -> tuple[dict[int, Tensor], dict[int, Tensor]]:
    """Sums over the positions that carry loss: cross-entropy of each exit and, if distilled, KL from a teacher.

    hidden: {k: [B, T, d]}; labels [B, T] already shifted, IGNORE where there is no loss. KL(teacher ‖ exit): the
    teacher is the lesson's, for every exit; without a lesson it is the deepest exit, whose own KL is zero. It passes
    no gradient to the teacher. Nats. rows: positions in a chunk; by default as many as LOGIT_BYTES allows. apart: the
    shared norm and head get no gradient.
    """
    exits = sorted(hidden)
    keep = labels != IGNORE
    wanted = labels[keep]  # [N]
    stacked = torch.stack([hidden[k][keep] for k in exits], 1)  # [N, E, d]
    taught = stacked.new_zeros(len(wanted), 0) if lesson is None else lesson.hidden[keep]  # [N, teacher's d]

    def chunk(part: Tensor, targets: Tensor, source: Tensor) -> Tensor:
        """[n, E, d], [n], [n, teacher's d] → sums [2, E]."""
        logits = [model.logits(part[:, i], k, apart).float() for i, k in enumerate(exits)]
        entropy = torch.stack([F.cross_entropy(values, targets, reduction="sum") for values in logits])
        if not distilled:
            return torch.stack([entropy, torch.zeros_like(entropy)])
        with torch.no_grad():
            told = logits[-1] if lesson is None else lesson.teacher.logits(source).float()
            told = F.log_softmax(told, -1)
        divergence = [F.kl_div(F.log_softmax(values, -1), told, reduction="sum", log_target=True) for values in logits]
        if lesson is None:
            divergence[-1] = torch.zeros_like(entropy[-1])
        return torch.stack([entropy, torch.stack(divergence)])

    size = rows or chunk_rows(len(exits), model.vocabulary)
    total = stacked.new_zeros(2, len(exits), dtype=torch.float32)
    for parts in zip(stacked.split(size), wanted.split(size), taught.split(size), strict=True):
        total = total + checkpoint(chunk, *parts, use_reentrant=False)
    return dict(zip(exits, total[0], strict=True)), dict(zip(exits, total[1], strict=True))
