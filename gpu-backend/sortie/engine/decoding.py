"""How tokens are chosen: by one exit, by the first that is sure, or by one that drafts and one that verifies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

# Drafts verified at once: more than are ever accepted in a row pay for nothing.
MAX_DRAFTS = 16


@dataclass(frozen=True)
class Plain:
    """Every token by the request's exit."""


@dataclass(frozen=True)
class EarlyExit:
    """A token by the first exit whose greatest probability is strictly above its threshold, else by the request's.

    After CALM (Schuster et al. 2022). Exits without a threshold are not asked.
    """

    thresholds: Mapping[int, float]


@dataclass(frozen=True)
class Speculative:
    """A shallow exit drafts up to `drafts` tokens, the request's exit verifies them from the draft's hidden states.

    Draft and verification draw with the same random number for a position, so the answer is, token by token, that of
    plain decoding with the same seed, at any temperature.
    """

    draft_exit: int
    drafts: int


Decoding = Plain | EarlyExit | Speculative
