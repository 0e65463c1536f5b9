"""Between running sequences and the prefix cache: what was read before is taken, what is read now is left.

Every whole block is kept as soon as a segment has read it, a prompt's and an answer's alike. In float32 and bfloat16
what a block holds depends on the batch it was read in by rounding alone, as every token here does.
"""

from __future__ import annotations

import torch

from ..cache.block import pack, unpack
from ..cache.keys import Owner
from ..cache.prefix_cache import PrefixCache
from .decoding import EarlyExit
from .pages import BLOCK_TOKENS
from .runner import Runner
from .sequence import Sequence, State
from .trail import Trail


class Prefixes:
    """Owned by the scheduler, in its thread. A sequence takes part from `admit` to `release`."""

    def __init__(self, cache: PrefixCache, runner: Runner) -> None:
        self._cache = cache
        self._runner = runner

    def admit(self, sequence: Sequence, owner: Owner, state: State | None) -> None:
        """Gives a sequence that has its pages the blocks that are held, segment by segment.

        Of a handoff (`state`) in this arithmetic, the blocks of segments whose hidden states it brings are kept; in
        another one, nothing is.
        """
        if state is not None and not state.own:
            return
        trail = sequence.trail = Trail(self._cache.chain(owner), len(sequence.read))
        if state is not None:
            last = sequence.exits.index(state.exit_layer)
            for segment, exit_layer in enumerate(sequence.exits[: last + 1]):
                hidden = state.hidden if segment == last else state.inner.get(exit_layer)
                if hidden is None:
                    trail.start[segment] = None
                else:
                    trail.add(segment, hidden.to(self._runner.device, self._runner.dtype))
        # An early exit is asked where the last token's hidden state passes by: that token is read.
        spared = 1 if isinstance(sequence.job.decoding, EarlyExit) else 0
        keys = trail.chain.upto(sequence.ids, (len(sequence.ids) - spared) // BLOCK_TOKENS)
        for segment in range(len(sequence.read)):
            if sequence.read[segment] == 0:
                below = len(keys) if segment == 0 else sequence.read[segment - 1] // BLOCK_TOKENS
                self._fill(sequence, segment, self._cache.leading(keys[:below], sequence.exits[segment]))
            if state is not None and segment <= last:
                self.keep(sequence, segment)
        sequence.cached = max(sequence.cached, min(sequence.read))

    def _fill(self, sequence: Sequence, segment: int, rows: list[torch.Tensor]) -> None:
        if not rows:
            return
        runner, (lower, upper) = self._runner, self._runner.bounds[segment]
        block = torch.stack(rows).to(runner.device)
        hidden, keys, values = unpack(block, runner.config.hidden_size, upper - lower)
        pages = runner.pool.tables[sequence.row, lower:upper, : len(rows)]
        runner.pool.write_pages(pages.flatten(), keys.flatten(0, 1), values.flatten(0, 1))
        sequence.pass_over(segment, hidden)
        sequence.trail.start[segment] = sequence.read[segment]

    def keep(self, sequence: Sequence, segment: int) -> None:
        """Keeps the whole blocks that a segment has read and the cache does not hold; drafts are no tokens yet."""
        trail = sequence.trail
        if trail is None or trail.start[segment] is None:
            return
        settled = min(sequence.read[segment], len(sequence.ids) - len(sequence.guesses))
        first, end = trail.start[segment] // BLOCK_TOKENS, settled // BLOCK_TOKENS
        if end <= first:
            return
        hidden = trail.take(segment, end * BLOCK_TOKENS)
        last_layer, (lower, upper) = sequence.exits[segment], self._runner.bounds[segment]
        keys = trail.chain.upto(sequence.ids, end)
        wanted = [at for at in range(first, end) if not self._cache.holds(keys[at], last_layer)]
        if not wanted:
            return
        pages = self._runner.pool.tables[sequence.row, lower:upper, wanted]  # [layers, B]
        read = (part.index_select(0, pages.flatten()) for part in (self._runner.pool.keys, self._runner.pool.values))
        layers = (part.unflatten(0, pages.shape) for part in read)  # [layers, B, 32, Hkv·Dh]
        chosen = hidden.unflatten(0, (end - first, BLOCK_TOKENS))[[at - first for at in wanted]]
        rows = pack(chosen, *layers).cpu()
        for at, row in zip(wanted, rows, strict=True):
            self._cache.put(keys[at], last_layer, row)

    def release(self, sequence: Sequence) -> None:
        """Keeps what the last steps have settled, before the pages go."""
        if sequence.trail is None:
            return
        for segment in range(len(sequence.read)):
            self.keep(sequence, segment)
        whole = min(len(sequence.ids) - len(sequence.guesses), sequence.read[0]) // BLOCK_TOKENS
        self._cache.use(sequence.trail.chain.upto(sequence.ids, whole), sequence.exits[: len(sequence.read)])
