"""What the prefix cache still lacks of a running sequence: its keys, and hidden states that fill no block yet."""

from __future__ import annotations

import torch
from torch import Tensor

from ..cache.keys import KeyChain


class Trail:
    """Hidden states at the end of each segment, from `start[segment]` (a multiple of 32) on; None: not kept there."""

    def __init__(self, chain: KeyChain, segments: int) -> None:
        self.chain = chain
        self.start: list[int | None] = [0] * segments
        self._rows: list[list[Tensor]] = [[] for _ in range(segments)]

    def add(self, segment: int, hidden: Tensor) -> None:
        """hidden [n, d]: the rows that have just left a segment."""
        if self.start[segment] is not None:
            self._rows[segment].append(hidden)

    def take(self, segment: int, end: int) -> Tensor:
        """The rows [n, d] from the start up to position `end`, which is where the next ones start."""
        rows, count = torch.cat(self._rows[segment]), end - self.start[segment]
        self.start[segment] = end
        self._rows[segment] = [rows[count:]] if len(rows) > count else []
        return rows[:count]

    def crop(self, length: int) -> None:
        """Forgets positions `length` and after."""
        for segment, start in enumerate(self.start):
            rows = self._rows[segment]
            if rows and start + sum(map(len, rows)) > length:
                self._rows[segment] = [torch.cat(rows)[: length - start]]
