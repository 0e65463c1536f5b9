"""Memory for rows that come and go by the thousand: in large pieces, used again, so that the heap does not scatter."""

from __future__ import annotations

import torch
from torch import Tensor

PIECE_BYTES = 4 << 20


class Rows:
    """Rows by length and type. A piece is never given back; only segments of different depth differ in length."""

    def __init__(self) -> None:
        self._free: dict[tuple[int, torch.dtype], list[Tensor]] = {}

    def take(self, row: Tensor) -> Tensor:
        """A copy of a row [E], on the CPU, to be given back."""
        free = self._free.setdefault((len(row), row.dtype), [])
        if not free:
            free += torch.empty(max(1, PIECE_BYTES // row.nbytes), len(row), dtype=row.dtype)
        return free.pop().copy_(row)

    def give(self, row: Tensor) -> None:
        """Takes back a row that nobody reads any more."""
        self._free[(len(row), row.dtype)].append(row)
