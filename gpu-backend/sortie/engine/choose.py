"""From the rows that have arrived at an exit to tokens: one of a plain sequence, a run of a verified one."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .sampler import Draw, sample
from .sequence import Sequence, Token


@dataclass(frozen=True)
class Choice:
    """What a row of logits says. confidence: the greatest probability at temperature 1."""

    id: int
    logprob: float
    confidence: float
    top: list[tuple[int, float]] | None

    def token(self, exit_layer: int, cached_tokens: int | None) -> Token:
        """The choice as a token of an exit."""
        return Token(self.id, self.logprob, exit_layer, self.top, cached_tokens)


def choose(logits: Tensor, sequences: list[Sequence]) -> list[list[Choice]]:
    """logits [N, V] of all the sequences' `arrived` rows, end to end → the choices of each sequence's rows.

    A sequence with several rows has guesses: row i is drawn as if the first i of them had been taken.
    """
    draws = [draw for sequence in sequences for draw in draws_of(sequence)]
    ids = sample(logits, draws)
    logprobs = logits.log_softmax(-1)
    picked = logprobs.gather(-1, torch.tensor(ids, device=logits.device)[:, None])[:, 0].tolist()
    peaks = logprobs.amax(-1).exp().tolist()
    most = max(sequence.job.top_logprobs for sequence in sequences)
    best = best_of(logprobs, most)
    found, at = [], 0
    for sequence in sequences:
        count, top = len(sequence.arrived), sequence.job.top_logprobs
        rows = range(at, at + count)
        found.append([Choice(ids[r], picked[r], peaks[r], best[r][:top] if top else None) for r in rows])
        at += count
    return found


def draws_of(sequence: Sequence) -> list[Draw]:
    """One for each row that has arrived."""
    count = len(sequence.arrived)
    first = len(sequence.ids) - count + 1  # the position that follows the first row
    sampling, seen = sequence.job.sampling, sequence.seen
    draws = []
    guesses = sequence.guesses if sequence.drafting else sequence.guesses[: count - 1]
    if sequence.drafting and guesses and sampling.penalises:
        seen = seen.copy()
        for guess in guesses:
            seen.add(guess)
    for row in range(count):
        if row > 0 and sampling.penalises:
            seen = seen.copy()
            seen.add(guesses[row - 1])
        draws.append(Draw(sampling, seen, first + row))
    return draws


def best_of(logprobs: Tensor, count: int) -> list[list[tuple[int, float]]]:
    """The `count` most probable ids of each row [N, V] with their log-probabilities, best first, ties by lowest id."""
    if count == 0:
        return [[] for _ in logprobs]
    values, ids = logprobs.sort(dim=-1, descending=True, stable=True)
    pairs = zip(ids[:, :count].tolist(), values[:, :count].tolist(), strict=True)
    return [list(zip(row, numbers, strict=True)) for row, numbers in pairs]
