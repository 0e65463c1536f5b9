"""One growing sequence, computed segment by segment: the layers between two exits, each with a cache of its own.

A segment may lag behind: hidden states that stopped at a shallower exit wait before it, and run through it in one batch
when a later token needs it. The keys and values it then makes are those it would have made at once, since a layer
reads nothing but hidden states of the layer below. Dynamic inference fills its caches in this way, and self-speculative
decoding verifies its drafts.
"""

from __future__ import annotations

import torch
from torch import Tensor
from transformers import DynamicCache

from ..nested import NestedModel


class SegmentedSequence:
    """State of one sequence (batch of one) over the segments of a nested model."""

    def __init__(self, model: NestedModel, counted_from: int = 0) -> None:
        """counted_from: the first position whose runs count in `layer_runs`."""
        self.model = model
        self.counted_from = counted_from
        self.cache = DynamicCache()
        self.bounds = list(zip((0, *model.exits[:-1]), model.exits, strict=True))
        # Hidden states before each segment that it has not yet read, [1, n, d].
        self.waiting: list[Tensor | None] = [None] * len(self.bounds)
        # Tokens each segment has read.
        self.read = [0] * len(self.bounds)
        self.layer_runs = 0

    @property
    def length(self) -> int:
        """Tokens fed so far."""
        first = self.waiting[0]
        return self.read[0] + (0 if first is None else first.shape[1])

    def feed(self, ids: list[int]) -> None:
        """Appends tokens; nothing is computed yet."""
        embedded = self.model.lm.model.embed_tokens(torch.tensor([ids], device=self.model.lm.device))
        self._wait(0, embedded)

    def _wait(self, segment: int, hidden: Tensor) -> None:
        before = self.waiting[segment]
        self.waiting[segment] = hidden if before is None else torch.cat((before, hidden), 1)

    def run_to(self, exit_layer: int) -> Tensor | None:
        """Runs all that waits up to an exit: hidden states [1, n, d] that arrived there, oldest first; None for none.

        They also wait before the next segment.
        """
        deepest = self.model.exits.index(exit_layer)
        hidden = None
        for segment in range(deepest + 1):
            hidden = self._advance(segment)
            if hidden is not None and segment + 1 < len(self.bounds):
                self._wait(segment + 1, hidden)
        return hidden

    def _advance(self, segment: int) -> Tensor | None:
        """Runs what waits before a segment through it."""
        x = self.waiting[segment]
        if x is None:
            return None
        self.waiting[segment] = None
        base = self.model.lm.model
        first, count = self.read[segment], x.shape[1]
        places = torch.arange(first, first + count, device=x.device)
        rotary = base.rotary_emb(x, position_ids=places[None])
        lower, upper = self.bounds[segment]
        for number in range(lower, upper):
            mask = step_mask(places, first + count, self.model.windows[number])
            x = base.layers[number](
                x,
                attention_mask=mask,
                position_ids=places[None],
                position_embeddings=rotary,
                past_key_values=self.cache,
            )
        self.layer_runs += (upper - lower) * max(0, first + count - max(first, self.counted_from))
        self.read[segment] = first + count
        return x

    def crop(self, length: int) -> None:
        """Forgets all tokens from `length` on."""
        for segment, (lower, upper) in enumerate(self.bounds):
            arrived = self.read[segment]
            waiting = self.waiting[segment]
            if waiting is not None and arrived + waiting.shape[1] > length:
                kept = waiting[:, : max(0, length - arrived)]
                self.waiting[segment] = kept if kept.shape[1] else None
            if arrived > length:
                self.read[segment] = length
                for number in range(lower, upper):
                    layer = self.cache.layers[number]
                    layer.keys = layer.keys[..., :length, :]
                    layer.values = layer.values[..., :length, :]


def step_mask(places: Tensor, total: int, window: int | None) -> Tensor | None:
    """Which of `total` tokens those at `places` may look at, [1, 1, n, total]; None for one token that sees all."""
    if len(places) == 1 and (window is None or total <= window):
        return None
    back = places[:, None] - torch.arange(total, device=places.device)[None, :]
    allowed = back >= 0 if window is None else (back >= 0) & (back < window)
    return allowed[None, None]
