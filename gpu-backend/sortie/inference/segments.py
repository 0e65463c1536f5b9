"""One growing sequence, computed segment by segment: the layers between two exits, each with a cache of its own.

A segment may lag behind: hidden states that stopped at a shallower exit wait before it, and run through it in one batch
when a later token needs it. The keys and values it then makes are those it would have made at once, since a layer
reads nothing but hidden states of the layer below. Dynamic inference fills its caches in this way, and self-speculative
decoding verifies its drafts.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from transformers import DynamicCache

from ..nested import NestedModel


class Stretch:
    """Some layers in a row, their keys and values, and the hidden states [1, n, d] that wait before them."""

    def __init__(self, layers: Sequence[nn.Module], windows: Sequence[int | None]) -> None:
        self.layers = list(zip(layers, windows, strict=True))
        self.cache = DynamicCache()
        self.waiting: Tensor | None = None
        # Tokens read so far.
        self.read = 0

    def wait(self, hidden: Tensor) -> None:
        """Lets hidden states wait behind those that wait."""
        self.waiting = hidden if self.waiting is None else torch.cat((self.waiting, hidden), 1)

    def advance(self, rotary_emb: nn.Module) -> Tensor | None:
        """Runs all that waits: what comes out [1, n, d]; None where nothing waits."""
        x = self.waiting
        if x is None:
            return None
        self.waiting = None
        first, count = self.read, x.shape[1]
        places = torch.arange(first, first + count, device=x.device)
        rotary = rotary_emb(x, position_ids=places[None])
        for layer, window in self.layers:
            x = layer(
                x,
                attention_mask=step_mask(places, first + count, window),
                position_ids=places[None],
                position_embeddings=rotary,
                past_key_values=self.cache,
            )
        self.read = first + count
        return x

    def crop(self, length: int) -> None:
        """Forgets all tokens from `length` on."""
        if self.waiting is not None and self.read + self.waiting.shape[1] > length:
            kept = self.waiting[:, : max(0, length - self.read)]
            self.waiting = kept if kept.shape[1] else None
        if self.read > length:
            self.read = length
            for layer, _ in self.layers:
                kept = self.cache.layers[layer.self_attn.layer_idx]
                kept.keys, kept.values = kept.keys[..., :length, :], kept.values[..., :length, :]


class SegmentedSequence:
    """State of one sequence (batch of one) over the segments of a nested model, and over layers that exits own."""

    def __init__(self, model: NestedModel, counted_from: int = 0) -> None:
        """counted_from: the first position whose runs count in `layer_runs`."""
        self.model = model
        self.counted_from = counted_from
        layers, windows = model.lm.model.layers, model.windows
        self.segments = [
            Stretch(layers[lower:upper], windows[lower:upper])
            for lower, upper in zip((0, *model.exits[:-1]), model.exits, strict=True)
        ]
        # An exit's own layer, by the exit's place among all.
        self.own: dict[int, Stretch] = {}
        for at, k in enumerate(model.exits):
            head = model.own_head(k)
            if head is not None and head.kind == "balcony":
                self.own[at] = Stretch([head.layer], [windows[k - 1]])
        self.layer_runs = 0

    @property
    def length(self) -> int:
        """Tokens fed so far."""
        first = self.segments[0]
        return first.read + (0 if first.waiting is None else first.waiting.shape[1])

    def feed(self, ids: list[int]) -> None:
        """Appends tokens; nothing is computed yet."""
        self.segments[0].wait(self.model.lm.model.embed_tokens(torch.tensor([ids], device=self.model.lm.device)))

    def run_to(self, exit_layer: int) -> Tensor | None:
        """Runs all that waits up to an exit: hidden states [1, n, d] that arrived there, oldest first; None for none.

        They also wait before the next segment. An exit's own layer reads all that has come by since it was last asked.
        """
        deepest = self.model.exits.index(exit_layer)
        hidden = None
        for at in range(deepest + 1):
            hidden = self._advance(self.segments[at])
            if hidden is None:
                continue
            if at in self.own:
                self.own[at].wait(hidden)
            if at + 1 < len(self.segments):
                self.segments[at + 1].wait(hidden)
        return self._advance(self.own[deepest]) if deepest in self.own else hidden

    def _advance(self, stretch: Stretch) -> Tensor | None:
        """Runs what waits before a stretch, and counts it."""
        first = max(stretch.read, self.counted_from)
        out = stretch.advance(self.model.lm.model.rotary_emb)
        self.layer_runs += len(stretch.layers) * max(0, stretch.read - first)
        return out

    def crop(self, length: int) -> None:
        """Forgets all tokens from `length` on."""
        for stretch in (*self.segments, *self.own.values()):
            stretch.crop(length)


def step_mask(places: Tensor, total: int, window: int | None) -> Tensor | None:
    """Which of `total` tokens those at `places` may look at, [1, 1, n, total]; None for one token that sees all."""
    if len(places) == 1 and (window is None or total <= window):
        return None
    back = places[:, None] - torch.arange(total, device=places.device)[None, :]
    allowed = back >= 0 if window is None else (back >= 0) & (back < window)
    return allowed[None, None]
