"""Pairs, said again in another order: text that teaches to look things up before there are questions about it.

Whoever has read `D T, K M.` can tell what follows `K` the second time. Language models learn that in one sudden step,
and late where it stands only in long prompts with one answer each; on short drills, every second half of which is a
lookup, they learn it within a few hundred steps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random
from typing import Any

from .families.structures import LETTERS, LIST_WORDS

LEAST_PAIRS = 2
MOST_PAIRS = 8


def _letters(rng: Random, size: int) -> list[str]:
    return [f"{a} {b}" for a, b in zip(rng.sample(LETTERS, size), rng.choices(LETTERS, k=size), strict=True)]


def _map(rng: Random, size: int) -> list[str]:
    letters = rng.sample(LETTERS, size)
    return [f"{a} points to {rng.choice([b for b in letters if b != a])}" for a in letters]


def _words(rng: Random, size: int) -> list[str]:
    return [f"{a} {b}" for a, b in zip(rng.sample(LIST_WORDS, size), rng.sample(LIST_WORDS, size), strict=True)]


def _prices(rng: Random, size: int) -> list[str]:
    return [f"{a} {b}" for a, b in zip(rng.sample(LIST_WORDS, size), rng.sample(range(1, 100), size), strict=True)]


PAIRS: tuple[Callable[[Random, int], list[str]], ...] = (_letters, _map, _words, _prices)


def drill(rng: Random, most: int) -> str:
    """Two to `most` pairs, said two to four times, each time in an order of its own."""
    pairs = rng.choice(PAIRS)(rng, rng.randint(LEAST_PAIRS, most))
    return ". ".join(", ".join(rng.sample(pairs, len(pairs))) for _ in range(rng.randint(2, 4)))


def drills(seed: int, most: int = MOST_PAIRS) -> Iterator[dict[str, Any]]:
    """Endless texts of drills of up to `most` pairs; row i depends on (seed, most, i) alone."""
    index = 0
    while True:
        yield {"text": drill(Random(f"{seed}:drill:{most}:{index}"), most)}
        index += 1
