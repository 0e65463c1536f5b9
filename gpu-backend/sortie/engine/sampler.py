"""From logits to ids, for many requests at once: the definition of src/model/sampler.ts, on the model's device.

Randomness is a function of (seed, absolute position). Order: penalties, temperature, top-k, top-p, min-p; the draw
walks the kept ids in the order of their ids.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

WORD = 0xFFFFFFFF


@dataclass(frozen=True)
class Sampling:
    """Of one request, as `sortie-origin/1` names them. temperature 0 is greedy; top_k 0 is off."""

    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    seed: int = 0

    @property
    def penalises(self) -> bool:
        """Whether any penalty is on."""
        return (self.repetition_penalty, self.presence_penalty, self.frequency_penalty) != (1, 0, 0)


@dataclass
class Seen:
    """The tokens that penalties look at: every id of prompt and answer, and how often each occurs in the answer."""

    all: set[int] = field(default_factory=set)
    answer: dict[int, int] = field(default_factory=dict)

    def add(self, token: int) -> None:
        """Counts a token of the answer."""
        self.all.add(token)
        self.answer[token] = self.answer.get(token, 0) + 1

    def copy(self) -> Seen:
        """A copy that may be added to."""
        return Seen(set(self.all), dict(self.answer))


@dataclass(frozen=True)
class Draw:
    """One row of logits: what is drawn from it. position: the absolute one that the id will take."""

    sampling: Sampling
    seen: Seen
    position: int


def sample(logits: Tensor, draws: Sequence[Draw]) -> list[int]:
    """logits [N, V] float32, not changed → the next id of each row."""
    penalised = penalise(logits, draws)
    ids = penalised.argmax(-1)
    hot = [row for row, draw in enumerate(draws) if draw.sampling.temperature > 0]
    if hot:
        at = torch.tensor(hot, device=logits.device)
        ids[at] = sample_rows(penalised[at], [draws[row] for row in hot])
    return ids.tolist()


def penalise(logits: Tensor, draws: Sequence[Draw]) -> Tensor:
    """The logits themselves where no penalty is on, else a changed copy."""
    changed = logits
    for row, draw in enumerate(draws):
        sampling, seen = draw.sampling, draw.seen
        if not sampling.penalises:
            continue
        if changed is logits:
            changed = logits.clone()
        if sampling.repetition_penalty != 1:
            ids = torch.tensor(sorted(seen.all), dtype=torch.long, device=logits.device)
            old, by = changed[row, ids].double(), sampling.repetition_penalty
            changed[row, ids] = torch.where(old > 0, old / by, old * by).float()
        if seen.answer:
            ids = torch.tensor(list(seen.answer), dtype=torch.long, device=logits.device)
            counts = torch.tensor(list(seen.answer.values()), dtype=torch.float64, device=logits.device)
            off = sampling.presence_penalty + sampling.frequency_penalty * counts
            changed[row, ids] = (changed[row, ids].double() - off).float()
    return changed


def sample_rows(logits: Tensor, draws: Sequence[Draw]) -> Tensor:
    """Penalised logits [N, V] of rows with a temperature → ids [N]."""

    def column(name: str) -> Tensor:
        return torch.tensor([[float(getattr(d.sampling, name))] for d in draws], dtype=torch.float64, device=device)

    device = logits.device
    exact = logits.double()
    weights = ((exact - exact.max(-1, keepdim=True).values) / column("temperature")).exp()  # [N, V], the peak weighs 1
    if any(d.sampling.top_k > 0 or d.sampling.top_p < 1 for d in draws):
        weights = keep_best(weights, column("top_k"), column("top_p"))
    weights = torch.where(weights < column("min_p"), 0.0, weights)
    sums = weights.cumsum(-1)
    numbers = torch.tensor([[uniform(d.sampling.seed, d.position)] for d in draws], dtype=torch.float64, device=device)
    ids = (sums <= numbers * sums[:, -1:]).sum(-1)
    # Rounding: the target may lie within one ulp of the total.
    places = torch.arange(weights.shape[1], device=device)
    return torch.minimum(ids, torch.where(weights > 0, places, 0).amax(-1))


def keep_best(weights: Tensor, top_k: Tensor, top_p: Tensor) -> Tensor:
    """weights [N, V] without all but the top_k heaviest, and of these without what top_p of the mass does not need."""
    ordered, ids = weights.sort(dim=-1, descending=True, stable=True)  # ties by lowest id
    ranks = torch.arange(weights.shape[1], device=weights.device)
    ordered = torch.where((top_k == 0) | (ranks < top_k), ordered, 0.0)
    sums = ordered.cumsum(-1)
    before = sums - ordered
    needed = (ranks == 0) | (before < top_p * sums[:, -1:]) | (top_p == 1)
    return torch.zeros_like(weights).scatter_(-1, ids, torch.where(needed, ordered, 0.0))


def uniform(seed: int, position: int) -> float:
    """A number in [0, 1) for each (seed, position), by the finaliser of MurmurHash3 (Appleby, public domain)."""
    high = mix(mix((2 * position & WORD) ^ 0x9E3779B9) ^ seed)
    low = mix(mix((2 * position + 1 & WORD) ^ 0x9E3779B9) ^ seed)
    return ((high >> 5) * 2**26 + (low >> 6)) / 2**53


def mix(word: int) -> int:
    """A 32-bit word to another, one to one."""
    word = (word ^ (word >> 16)) * 0x85EBCA6B & WORD
    word = (word ^ (word >> 13)) * 0xC2B2AE35 & WORD
    return word ^ (word >> 16)
