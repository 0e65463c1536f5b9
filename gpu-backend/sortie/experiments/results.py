"""Scores of a comparison brought together: each arm at each exit, and paired differences with their intervals."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..evaluation.bootstrap import paired_bootstrap
from .arms import BASE, EXTRACTED, ICT, OURS, SFT, SOFT
from .score import Scores, load

# What counts as no loss, in points of exact match: against Extracted at every exit, against SFT at full depth.
EXTRACTED_MARGIN, SFT_MARGIN = -1.0, -0.5
PERCENT = 100.0
# The arms as rows of a table; `extracted` gathers one network an exit, the deepest being SFT itself.
ARMS = (BASE, SFT, ICT, EXTRACTED, SOFT, OURS)
METRICS = ("exact_match", "nll")


@dataclass(frozen=True)
class Cell:
    """One arm at one exit over [seeds, rows]: points of exact match (0 or 100), and mean nats per answer token."""

    exact_match: np.ndarray
    nll: np.ndarray
    # Nats and tokens of every seed's answers, for the mean over tokens.
    per_token: list[float]


Cells = dict[str, dict[int, Cell]]


def collect(folders: list[Path]) -> Cells:
    """{arm: {exit: Cell}} of folders of scores, one a seed; arms that not every seed has are left out.

    Raises ValueError where two files score different rows.
    """
    files = [{path.stem: load(path) for path in sorted(folder.glob("*.npz"))} for folder in folders]
    shared = set.intersection(*(set(found) for found in files)) if files else set()
    numbers = [scores.numbers for found in files for scores in found.values()]
    if any(not np.array_equal(numbers[0], other) for other in numbers):
        raise ValueError(f"scores of different rows in {', '.join(map(str, folders))}")
    cells: Cells = {}
    for name in sorted(shared):
        arm = EXTRACTED if name.startswith(f"{EXTRACTED}-") else name
        found = [seed[name] for seed in files]
        for e, k in enumerate(found[0].exits):
            cells.setdefault(arm, {})[k] = cell(found, e)
    if EXTRACTED in cells and SFT in cells:
        deepest = max(cells[SFT])
        cells[EXTRACTED][deepest] = cells[SFT][deepest]
    return cells


def cell(seeds: list[Scores], e: int) -> Cell:
    """One exit of several seeds."""
    return Cell(
        PERCENT * np.stack([scores.right[e] for scores in seeds]),
        np.stack([scores.nll[e] / scores.tokens for scores in seeds]),
        [float(scores.nll[e].sum() / scores.tokens.sum()) for scores in seeds],
    )


def difference(
    cells: Cells, ours: str, theirs: str, k: int, metric: str, margin: float | None, deeper: int = 0
) -> dict[str, Any]:
    """ours - theirs at an exit, the 95 % interval, and whether all of it is above the margin.

    deeper: layers by which their exit is deeper.
    """
    interval = paired_bootstrap(getattr(cells[ours][k], metric), getattr(cells[theirs][k + deeper], metric))
    found = {"ours": ours, "theirs": f"{theirs}-{k + deeper}" if deeper else theirs, "exit": k, "metric": metric}
    found |= {name: round(value, 4) for name, value in asdict(interval).items()}
    if margin is not None:
        found |= {"margin": margin, "met": bool(interval.low >= margin)}
    return found


def differences(cells: Cells) -> list[dict[str, Any]]:
    """Every way to train all exits against Extracted at every exit, SFT at the deepest, and plain SoFT."""
    margins = {EXTRACTED: EXTRACTED_MARGIN, SFT: SFT_MARGIN, SOFT: None}
    found = []
    for metric in METRICS:
        for ours in (SOFT, OURS):
            for theirs in (EXTRACTED, SFT, SOFT):
                if ours not in cells or theirs not in cells or ours == theirs:
                    continue
                deepest = max(cells[ours])
                exits = [k for k in cells[ours] if theirs == SOFT or (k == deepest) == (theirs == SFT)]
                # Margins are points of exact match; likelihoods are shown without one.
                margin = margins[theirs] if metric == METRICS[0] else None
                found += [difference(cells, ours, theirs, k, metric, margin) for k in exits]
        if OURS in cells:  # beside networks with as many layers as an exit and its own
            exits = [k for k in cells[OURS] if k + 1 in cells.get(EXTRACTED, {}) and k + 1 not in cells[OURS]]
            found += [difference(cells, OURS, EXTRACTED, k, metric, None, deeper=1) for k in exits]
    return found


def summary(folders: list[Path]) -> dict[str, Any]:
    """All of a comparison, for JSON: means by arm and exit, each seed's, and the differences."""
    cells = collect(folders)
    if not cells:
        return {}
    any_cell = next(iter(next(iter(cells.values())).values()))
    seeds, rows = any_cell.exact_match.shape
    arms = {
        arm: {
            str(k): {
                "exact_match": round(float(found.exact_match.mean()), 3),
                "nll": round(float(np.mean(found.per_token)), 4),
                "seeds": [round(float(seed.mean()), 3) for seed in found.exact_match],
            }
            for k, found in sorted(cells[arm].items())
        }
        for arm in sorted(cells, key=lambda name: ARMS.index(name) if name in ARMS else len(ARMS))
    }
    return {"rows": rows, "seeds": seeds, "arms": arms, "differences": differences(cells)}
