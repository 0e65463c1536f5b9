"""Rows packed into batches of one shape, in an order that (seed, step) alone decides."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from random import Random

import torch
from torch import Tensor

from ..losses import IGNORE
from .encode import Encoded

# Rows considered together for one another's gaps; larger packs tighter, and mixes less.
WINDOW_ROWS = 1024
# Segment of the padding behind the last row.
PADDING = -1


@dataclass(frozen=True)
class Batch:
    """ids [B, T]; labels [B, T] shifted by one, IGNORE where there is no loss; segments [B, T], a number a row."""

    ids: Tensor
    labels: Tensor
    segments: Tensor

    @property
    def learnt(self) -> int:
        """Positions that carry loss."""
        return int((self.labels != IGNORE).sum())

    def to(self, device: torch.device) -> Batch:
        """The same on a device."""
        return Batch(self.ids.to(device), self.labels.to(device), self.segments.to(device))


def pack(sizes: list[int], length: int) -> list[list[int]]:
    """Indices of rows into bins of at most `length`: first fit, longest first, within windows of WINDOW_ROWS.

    Raises ValueError for a row longer than a bin.
    """
    bins: list[list[int]] = []
    for first in range(0, len(sizes), WINDOW_ROWS):
        window = range(first, min(first + WINDOW_ROWS, len(sizes)))
        open_bins: list[tuple[list[int], int]] = []
        for i in sorted(window, key=lambda i: -sizes[i]):
            if sizes[i] > length:
                raise ValueError(f"row {i} has {sizes[i]} positions, a bin {length}")
            place = next((n for n, (_, room) in enumerate(open_bins) if room >= sizes[i]), None)
            if place is None:
                open_bins.append(([i], length - sizes[i]))
            else:
                members, room = open_bins[place]
                members.append(i)
                open_bins[place] = (members, room - sizes[i])
        bins += [members for members, _ in open_bins]
    return bins


def collate(bins: list[list[Encoded]], length: int, pad: int) -> Batch:
    """Bins of rows as one batch; a row of n ids takes n - 1 positions."""
    ids = torch.full((len(bins), length), pad)
    labels = torch.full((len(bins), length), IGNORE)
    segments = torch.full((len(bins), length), PADDING)
    for b, rows in enumerate(bins):
        at = 0
        for number, row in enumerate(rows):
            size = len(row.ids) - 1
            span = slice(at, at + size)
            ids[b, span] = torch.tensor(row.ids[:-1])
            targets = torch.tensor(row.ids[1:])
            labels[b, span] = torch.where(torch.tensor(row.learnt[1:]), targets, IGNORE)
            segments[b, span] = number
            at += size
    return Batch(ids, labels, segments)


class Batches:
    """Batches of `bins` packed rows by step; an epoch reads every row once, in an order of its own."""

    def __init__(self, rows: list[Encoded], length: int, bins: int, pad: int, seed: int) -> None:
        self.rows = rows
        self.length = length
        self.bins = bins
        self.pad = pad
        self.seed = seed
        self._epoch = lru_cache(maxsize=2)(self._pack_epoch)

    def _pack_epoch(self, epoch: int) -> list[list[int]]:
        order = list(range(len(self.rows)))
        rng = Random(f"{self.seed}:{epoch}")
        rng.shuffle(order)
        packed = pack([len(self.rows[i].ids) - 1 for i in order], self.length)
        rng.shuffle(packed)
        return [[order[i] for i in members] for members in packed]

    def _bins(self, first: int) -> Iterator[list[int]]:
        """Bins from a number on, over the epochs."""
        epoch = 0
        while first >= (count := len(self._epoch(epoch))):
            first -= count
            epoch += 1
        while True:
            yield from self._epoch(epoch)[first:]
            epoch, first = epoch + 1, 0

    @property
    def epoch_steps(self) -> int:
        """Batches of the first epoch, the last one partly of the second."""
        return -(-len(self._epoch(0)) // self.bins)

    def __getitem__(self, step: int) -> Batch:
        """The batch of a step, from 0; there is no last one."""
        source = self._bins(step * self.bins)
        members = [next(source) for _ in range(self.bins)]
        return collate([[self.rows[i] for i in bin_] for bin_ in members], self.length, self.pad)

    def once(self) -> Iterator[Batch]:
        """Every row exactly once (the last batch may be smaller)."""
        packed = self._epoch(0)
        for first in range(0, len(packed), self.bins):
            part = packed[first : first + self.bins]
            yield collate([[self.rows[i] for i in bin_] for bin_ in part], self.length, self.pad)
