"""Attention over tokens of many sequences laid end to end, each looking into its own pages.

Stock transformers layers run on one flat row [1, N, d]; everything but attention does not care whose token is whose.
Attention comes here through transformers' own registry, as its `AttentionInterface` is meant to be used.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

from .pages import BLOCK_TOKENS, PagePool, blocks_of

RAGGED = "ragged"


@dataclass(frozen=True)
class Span:
    """Positions start..start+count-1 of the sequence in a row of the page pool."""

    row: int
    start: int
    count: int


@dataclass
class Group:
    """Spans of equal length, attended to together. Tokens first..first+B·T-1 of the flat row."""

    first: int
    batch: int
    count: int
    # [layers, B, blocks]
    pages: Tensor
    # Positions of its tokens, [B, T].
    positions: Tensor
    # Window → additive mask [B, 1, G·T, L].
    masks: dict[int | None, Tensor] = field(default_factory=dict)

    def mask(self, window: int | None, heads: int, dtype: torch.dtype) -> Tensor:
        """Which of the L tokens kept each of the group's tokens may look at; `heads` query heads share a key head."""
        known = self.masks.get(window)
        if known is not None:
            return known
        length = self.pages.shape[2] * BLOCK_TOKENS
        back = self.positions[:, :, None] - torch.arange(length, device=self.positions.device)  # [B, T, L]
        hidden = back < 0 if window is None else (back < 0) | (back >= window)
        mask = torch.zeros(hidden.shape, dtype=dtype, device=hidden.device).masked_fill_(hidden, float("-inf"))
        mask = mask[:, None, None].expand(-1, -1, heads, -1, -1).flatten(2, 3)
        self.masks[window] = mask
        return mask


@dataclass(frozen=True)
class RaggedBatch:
    """The tokens of one run of a segment, and where they are kept. `order` are the spans as laid end to end."""

    pool: PagePool
    spans: list[Span]
    order: tuple[int, ...]
    # [N]
    rows: Tensor
    positions: Tensor
    # [layers, N]
    places: Tensor
    groups: tuple[Group, ...]

    @property
    def single(self) -> bool:
        """Whether every span is one token."""
        return len(self.groups) == 1 and self.groups[0].count == 1

    @staticmethod
    def of(pool: PagePool, spans: Sequence[Span]) -> RaggedBatch:
        """The batch of spans; `order[i]` is the index of the span that lies at place i."""
        order = tuple(sorted(range(len(spans)), key=lambda i: spans[i].count))
        ordered = [spans[i] for i in order]
        device = pool.shape.device
        flat = [(s.row, p) for s in ordered for p in range(s.start, s.start + s.count)]
        rows, positions = torch.tensor(flat, device=device).T.contiguous()
        groups, first = [], 0
        for count, same in groupby(ordered, key=lambda s: s.count):
            members = list(same)
            batch = len(members)
            end = first + batch * count
            blocks = blocks_of(max(s.start + s.count for s in members))
            pages = pool.tables[rows[first:end:count], :, :blocks].transpose(0, 1).contiguous()
            groups.append(Group(first, batch, count, pages, positions[first:end].view(batch, count)))
            first = end
        return RaggedBatch(pool, list(spans), order, rows, positions, pool.places(rows, positions), tuple(groups))

    @staticmethod
    def singles(pool: PagePool, rows: Tensor, positions: Tensor, blocks: int) -> RaggedBatch:
        """One token each of rows [B] at positions [B], all below `blocks` · 32; made on the device alone."""
        pages = pool.tables[rows, :, :blocks].transpose(0, 1).contiguous()
        group = Group(0, len(rows), 1, pages, positions[:, None])
        return RaggedBatch(pool, [], tuple(range(len(rows))), rows, positions, pool.places(rows, positions), (group,))


def ragged_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    _mask: None,
    scaling: float,
    ragged: RaggedBatch,
    window: int | None,
    **_: object,
) -> tuple[Tensor, None]:
    """query [1, H, N, Dh], key and value [1, Hkv, N, Dh] of a batch's tokens → [1, N, H, Dh].

    Keeps keys and values first. Query heads that share a key head are laid beside one another as so many tokens, so
    that keys are never repeated.
    """
    layer, pool = module.layer_idx, ragged.pool
    _, kv_heads, tokens, width = key.shape
    heads = query.shape[1] // kv_heads
    pool.write(
        layer,
        ragged.places[layer],
        key[0].transpose(0, 1).reshape(tokens, -1),
        value[0].transpose(0, 1).reshape(tokens, -1),
    )
    parts = []
    for group in ragged.groups:
        batch, count = group.batch, group.count
        own = query[0, :, group.first : group.first + batch * count]
        own = own.reshape(kv_heads, heads, batch, count, width).permute(2, 0, 1, 3, 4)
        keys, values = pool.read(group.pages[layer])  # [B, L, Hkv·Dh]
        seen = scaled_dot_product_attention(
            own.reshape(batch, kv_heads, heads * count, width),
            keys.view(batch, -1, kv_heads, width).transpose(1, 2),
            values.view(batch, -1, kv_heads, width).transpose(1, 2),
            attn_mask=group.mask(window, heads, query.dtype),
            scale=scaling,
        )  # [B, Hkv, G·T, Dh]
        parts.append(seen.view(batch, kv_heads, heads, count, width).permute(0, 3, 1, 2, 4).flatten(0, 1))
    return torch.cat(parts).view(1, tokens, -1, width), None


AttentionInterface.register(RAGGED, ragged_attention)
