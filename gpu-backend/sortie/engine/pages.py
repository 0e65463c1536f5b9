"""The kvCache of all running requests, in pages: one page holds one layer's keys and values of 32 positions.

A request takes every page it may ever need when it is admitted, for the layers it may run and no others: what runs
cannot run out of memory. Paging as in vLLM (Kwon et al. 2023); a page is a layer's because exits differ in depth.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

# Positions of a page: the block of the prefix cache, and what prompts are read in multiples of.
BLOCK_TOKENS = 32
# Page that belongs to nobody: what is beyond a sequence's end reads it, masked.
SCRATCH_PAGE = 0


@dataclass(frozen=True)
class CacheShape:
    """kv_width: Hkv·Dh. rows: requests that may run at once."""

    layers: int
    kv_width: int
    context_length: int
    rows: int
    dtype: torch.dtype
    device: torch.device

    @property
    def page_bytes(self) -> int:
        """Bytes of a page's keys and values."""
        return 2 * BLOCK_TOKENS * self.kv_width * self.dtype.itemsize


def blocks_of(tokens: int) -> int:
    """Blocks that hold so many tokens."""
    return -(-tokens // BLOCK_TOKENS)


class PagePool:
    """Pages within a budget of bytes, and for every running request which of them are its own."""

    def __init__(self, shape: CacheShape, budget_bytes: int) -> None:
        """Raises ValueError for a budget that one request over the whole context does not fit."""
        self.shape = shape
        self.pages = budget_bytes // shape.page_bytes - 1
        longest = shape.layers * blocks_of(shape.context_length)
        if self.pages < longest:
            raise ValueError(
                f"a whole context takes {(longest + 1) * shape.page_bytes} bytes, more than {budget_bytes}"
            )
        size = (self.pages + 1, BLOCK_TOKENS, shape.kv_width)
        # [pages, 32, Hkv·Dh]; zeros, since what is masked must be finite.
        self.keys = torch.zeros(size, dtype=shape.dtype, device=shape.device)
        self.values = torch.zeros(size, dtype=shape.dtype, device=shape.device)
        # Page of every (row, layer, block); the last row is nobody's.
        self.tables = torch.zeros(
            shape.rows + 1, shape.layers, blocks_of(shape.context_length), dtype=torch.long, device=shape.device
        )
        self._free = list(range(self.pages, SCRATCH_PAGE, -1))
        self._free_rows = list(range(shape.rows - 1, -1, -1))
        self._held: dict[int, list[int]] = {}

    @property
    def spare_row(self) -> int:
        """A row that is never taken: all its pages are the scratch page."""
        return self.shape.rows

    @property
    def free(self) -> int:
        """Pages nobody holds."""
        return len(self._free)

    def take(self, layers: int, tokens: int, hidden_bytes: int = 0) -> int | None:
        """A row with pages for so many tokens through layers 1..`layers`; None where pages or rows are lacking.

        hidden_bytes: what the request keeps besides, counted against the same budget as far as there is one.
        """
        blocks = blocks_of(tokens)
        count = min(self.pages, layers * blocks + -(-hidden_bytes // self.shape.page_bytes))
        if count > len(self._free) or not self._free_rows:
            return None
        row = self._free_rows.pop()
        held = self._held[row] = self._free[len(self._free) - count :]
        del self._free[len(self._free) - count :]
        own = torch.tensor(held[: layers * blocks], device=self.tables.device)
        self.tables[row, :layers, :blocks] = own.view(layers, blocks)
        return row

    def give(self, row: int) -> None:
        """Returns a row and its pages."""
        self.tables[row] = SCRATCH_PAGE
        self._free += self._held.pop(row)
        self._free_rows.append(row)

    def write(self, layer: int, places: Tensor, keys: Tensor, values: Tensor) -> None:
        """keys and values [N, Hkv·Dh] of a layer (from 0) to places [N]: page · 32 + position in it."""
        width = self.shape.kv_width
        self.keys.view(-1, width).index_copy_(0, places, keys)
        self.values.view(-1, width).index_copy_(0, places, values)

    def write_pages(self, pages: Tensor, keys: Tensor, values: Tensor) -> None:
        """Whole pages [N]: keys and values [N, 32, Hkv·Dh]."""
        self.keys.index_copy_(0, pages, keys)
        self.values.index_copy_(0, pages, values)

    def read(self, pages: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values of pages [B, blocks], both [B, blocks · 32, Hkv·Dh]; copies."""
        batch, blocks = pages.shape
        flat, size = pages.reshape(-1), (batch, blocks * BLOCK_TOKENS, self.shape.kv_width)
        return self.keys.index_select(0, flat).view(size), self.values.index_select(0, flat).view(size)

    def places(self, rows: Tensor, positions: Tensor) -> Tensor:
        """Where positions [N] of rows [N] are kept, for every layer: [layers, N]."""
        pages = self.tables[rows, :, positions // BLOCK_TOKENS]  # [N, layers]
        return (pages * BLOCK_TOKENS + (positions % BLOCK_TOKENS)[:, None]).T.contiguous()
