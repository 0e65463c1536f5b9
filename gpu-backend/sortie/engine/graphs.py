"""CUDA graphs of decoding: one for each segment, batch size and context length, both sizes rounded to powers of two.

A decode step launches some twenty small kernels a layer; replaying them as one graph takes the launches off its path.
An exit is a run of segments, so graphs of segments serve every exit and every mixture of them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from .pages import PagePool
from .ragged import RaggedBatch

# Runs before a capture: cuBLAS and the allocator settle outside of the graph.
WARM_UP_RUNS = 2

# (segment, hidden [N, d], batch) → [N, d], launched kernel by kernel.
RunSegment = Callable[[int, Tensor, RaggedBatch], Tensor]


@dataclass(frozen=True)
class Captured:
    """A graph and the tensors it reads and writes; rows, positions [B], hidden and out [B, d]."""

    graph: torch.cuda.CUDAGraph
    rows: Tensor
    positions: Tensor
    hidden: Tensor
    out: Tensor


class SegmentGraphs:
    """Captures graphs when they are first needed, and replays them. For a CUDA device alone."""

    def __init__(self, pool: PagePool, run: RunSegment) -> None:
        self._pool = pool
        self._run = run
        self._graphs: dict[tuple[int, int, int], Captured] = {}
        self._memory = torch.cuda.graph_pool_handle()

    def run(self, segment: int, hidden: Tensor, batch: RaggedBatch) -> Tensor:
        """As `RunSegment`, for a batch of single tokens."""
        count, blocks = len(hidden), batch.groups[0].pages.shape[2]
        size = (bucket(count), min(bucket(blocks), self._pool.tables.shape[2]))
        captured = self._graphs.get((segment, *size))
        if captured is None:
            captured = self._graphs[(segment, *size)] = self._capture(segment, *size, hidden)
        fill(captured.rows, captured.positions, batch, self._pool)
        captured.hidden[:count].copy_(hidden)
        captured.graph.replay()
        return captured.out[:count].clone()  # the next replay overwrites it

    def _capture(self, segment: int, count: int, blocks: int, like: Tensor) -> Captured:
        rows = torch.full((count,), self._pool.spare_row, device=like.device)
        positions = torch.zeros(count, dtype=torch.long, device=like.device)
        hidden = torch.zeros(count, like.shape[1], dtype=like.dtype, device=like.device)

        def once() -> Tensor:
            return self._run(segment, hidden, RaggedBatch.singles(self._pool, rows, positions, blocks))

        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(WARM_UP_RUNS):
                once()
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=self._memory):
            out = once()
        return Captured(graph, rows, positions, hidden, out)


def fill(rows: Tensor, positions: Tensor, batch: RaggedBatch, pool: PagePool) -> None:
    """A batch's rows and positions into larger tensors; what is beyond them computes nothing that anybody reads."""
    count = len(batch.rows)
    rows[:count].copy_(batch.rows)
    positions[:count].copy_(batch.positions)
    rows[count:].fill_(pool.spare_row)
    positions[count:].fill_(0)


def bucket(count: int) -> int:
    """The least power of two that is not below a count."""
    return 1 << (count - 1).bit_length()
