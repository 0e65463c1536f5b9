"""Intervals of means and of paired differences."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

RESAMPLES = 10_000


@dataclass(frozen=True)
class Interval:
    """A mean and its percentile bootstrap interval."""

    mean: float
    low: float
    high: float


def paired_bootstrap(ours: np.ndarray, theirs: np.ndarray, level: float = 0.95, seed: int = 0) -> Interval:
    """Mean difference ours - theirs over the same items (Efron & Tibshirani 1993, percentile interval).

    ours, theirs: [items] or [seeds, items]; seeds are resampled too, then items, so that the interval covers both.
    Raises ValueError for unequal shapes.
    """
    if ours.shape != theirs.shape:
        raise ValueError(f"scores of different items: {ours.shape} and {theirs.shape}")
    difference = np.atleast_2d(ours.astype(np.float64) - theirs.astype(np.float64))  # [S, N]
    seeds, items = difference.shape
    rng = np.random.default_rng(seed)
    means = np.empty(RESAMPLES)
    for i in range(RESAMPLES):
        drawn = difference[rng.integers(seeds, size=seeds)].mean(0)
        means[i] = drawn[rng.integers(items, size=items)].mean()
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(difference.mean()), float(low), float(high))
